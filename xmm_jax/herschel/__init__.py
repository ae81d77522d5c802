"""Herschel super-resolution (Lauritsen et al. 2021): SPIRE maps as SCUBA-2 would see them.

``--task=herschel`` of `train` and `evaluate`. `config` holds settings and presets, `images` the
maps, `line` what `train` asks for, `model` the trained network, `judge` the figures.
"""

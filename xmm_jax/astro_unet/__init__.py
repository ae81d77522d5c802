"""Astro U-net (Vojtekova et al. 2021, MNRAS 503, 3204): HST exposures as if taken for longer.

``--task=astro_unet`` of `train`, `evaluate` and `enhance`. `config` and `presets` hold the
settings, `images` the fields, `line` what `train` asks for, `model` the trained network, `judge`
the figures.
"""

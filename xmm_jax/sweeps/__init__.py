"""Searches over settings (Sweere et al. 2022, appendices C and D): ``xmm-jax sweep``.

`grids` holds what is tried, as plain data; `study` hands it out to any number of processes; `trial`
trains and judges one point; `rank` and `page` say what came out.
"""

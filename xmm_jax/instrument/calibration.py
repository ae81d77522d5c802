"""The packaged numbers of a camera, read once from the file that also says where each is from."""

import functools
import json
from importlib import resources

import jax
import numpy as np

# A table made at set-up: numpy when built, on the device when used.
Table = np.ndarray | jax.Array


@functools.cache
def load(camera_name: str) -> dict:
    """Tables of one camera: vignetting, PSF, dead and weak columns.

    Parameters
    ----------
    camera_name : str
        Name of the camera, e.g. ``"pn"``.

    Returns
    -------
    dict
        Contents of ``<camera_name>.json``; each table carries its ``source``.
    """
    text = resources.files("xmm_jax.instrument").joinpath(f"{camera_name}.json").read_text("utf-8")
    return json.loads(text)

"""The packaged numbers of a camera, read once from the file that also says where each is from."""

import functools
import json
from importlib import resources

import jax
import numpy as np

from xmm_jax.errors import InputError

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

    Raises
    ------
    InputError
        For a camera that comes without.
    """
    file = resources.files("xmm_jax.instrument").joinpath(f"{camera_name}.json")
    if not file.is_file():
        raise InputError(f"camera {camera_name!r} has no calibration {file.name}; choose pn")
    return json.loads(file.read_text("utf-8"))

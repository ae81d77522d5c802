"""The optical blocking filters: each lets a little less of the sky through than a thinner one."""

from xmm_jax.errors import InputError
from xmm_jax.instrument.calibration import load
from xmm_jax.instrument.camera import Camera


def transmission(camera: Camera, filter_name: str) -> float:
    """Light of the sky behind a filter, relative to the thin one.

    Parameters
    ----------
    camera : Camera
        The camera.
    filter_name : str
        ``"thin"`` or ``"medium"``.

    Returns
    -------
    float
        Factor on the counts of X-ray sources in the band of the camera. Ratio of the energy
        conversion factors of EPIC-pn (method of Mateos et al. 2009, A&A 496, 879).

    Raises
    ------
    InputError
        For any other filter.
    """
    known = load(camera.name)["filters"]["transmission"]
    if filter_name not in known:
        raise InputError(
            f"filter {filter_name!r} cannot be simulated; choose from {', '.join(known)}"
        )
    return known[filter_name]

"""Results as the published tool wrote them, for scripts that read its files.

``run_inference_on_real.py`` of Sweere et al. 2022 wrote two files beside an image:
``<name>_input_wcs_SR.fits.gz``, the counts on the padded frame of the network (416 x 416), and
``<name>_predict_wcs_SR.fits.gz``, counts as in 100 ks (``DN``: 50 ks) on the padded frame of the
result (832 x 832, 416 x 416). Names, shapes, units and keywords are kept. Its sky coordinates were
one output pixel off to make up for a shift that its network had learned; these are not.
"""

from pathlib import Path

import numpy as np
from astropy.io import fits

from xmm_jax import __version__
from xmm_jax.config import TASKS
from xmm_jax.data.fitsfile import in_header, write_fits
from xmm_jax.data.observation import Observation
from xmm_jax.data.wcs import regrid_header
from xmm_jax.enhancement import MARGIN
from xmm_jax.planes import Enhanced
from xmm_jax.worklist import stem_of


def write_compat(
    path: Path, folder: Path, observation: Observation, result: Enhanced, task: str
) -> list[Path]:
    """Write the two files of the published tool.

    Parameters
    ----------
    path : Path
        The input, for names and header.
    folder : Path
        Where to write.
    observation, result : Observation, Enhanced
        What went in and came out.
    task : str
        ``sr`` or ``dn``.

    Returns
    -------
    list of Path
        Input and prediction.

    Raises
    ------
    InputError
        If they cannot be written.
    """
    goal = TASKS[task]
    counts = observation.counts.astype(float)
    images = {
        "input": (counts, 1, observation.exposure_s),
        "predict": (
            result.rate.astype(float) * goal.target_exposure_s,
            goal.upscale,
            goal.target_exposure_s,
        ),
    }
    written = []
    for name, (image, upscale, seconds) in images.items():
        (top, _), (left, _) = MARGIN
        header = regrid_header(observation.header, pad=(left, top), upscale=upscale)
        header["IMG_FILE"] = (in_header(path.name), "input image")
        header["EXPOSURE"] = (seconds, "[s] exposure of these counts")
        header["BUNIT"] = ("count", "per pixel")
        header["CREATOR"] = f"xmm_jax {__version__}"
        padded = np.pad(image, [(upscale * low, upscale * high) for low, high in MARGIN])
        file = folder / f"{stem_of(path)}_{name}_wcs_{goal.suffix}.fits.gz"
        written.append(write_fits(file, [fits.PrimaryHDU(padded, header)]))
    return written

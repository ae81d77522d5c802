"""The result of enhancing one image, and its FITS extensions.

============  ======================================================================
RATE          count rate [count/s/pixel] at the new pixels, exact WCS (primary image)
STD           standard deviation of the samples of which RATE is the mean [count/s/pixel]
SAMPLES       these samples, one behind the other [count/s/pixel]
ERR_LO        how far the rate may be lower, 68 % interval [count/s/pixel]
ERR_HI        how far it may be higher [count/s/pixel]
SIGNIFICANCE  RATE / ERR_LO
NET           RATE without a background that was given [count/s/pixel]
DQ            quality bits
INPUT         the counts that went in, on their own grid, WCS as in the input
RESIDUAL      input minus what RATE predicts for it [sigma], on the grid of the input
SOURCES       features of RATE and what the photons say about each (table)
============  ======================================================================

Errors need a model that says how sure it is; NET an image with background, and a map of that;
RESIDUAL and SOURCES the frame of the camera; STD and SAMPLES a flow and ``--samples``, the latter
``--keep_samples`` too. STD is of the temperature: below 1 the truth varies more than the samples.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

from xmm_jax import __version__
from xmm_jax.config import TASKS
from xmm_jax.data.fitsfile import in_header
from xmm_jax.data.observation import Observation
from xmm_jax.data.quiet import ONE_AT_A_TIME
from xmm_jax.data.wcs import regrid_header
from xmm_jax.model import Model
from xmm_jax.nddata import to_ccddata
from xmm_jax.support import DQ_ERASED, DQ_UNSUPPORTED, Support, to_table

DQ_DEAD, DQ_CLIPPED, DQ_SATURATED = 1, 2, 4
DQ_MEANINGS = {
    DQ_DEAD: "dead pixel or outside the field of view",
    DQ_CLIPPED: "input above the clip rate of the network",
    DQ_SATURATED: "output at the upper limit of the network",
    DQ_UNSUPPORTED: "feature that the photons do not support",
    DQ_ERASED: "photons show a source that is missing here",
}
RATE_UNIT = "count s-1 pixel-1"


@dataclasses.dataclass(frozen=True)
class Enhanced:
    """Result for one image.

    Attributes
    ----------
    rate : array
        Count rate [count/s/pixel], ``[s*y, s*x]`` float32, 0 where dead.
    dq : array
        Quality bits, ``[s*y, s*x]`` uint8, see `DQ_MEANINGS`.
    err_lo, err_hi : array or None
        Distance to the ends of the 68 % interval [count/s/pixel], same shape; None if the model
        has no error bars.
    net : array or None
        Rate without the background [count/s/pixel], same shape, where that was given and is in it.
    support : Support or None
        What the photons say, if it was asked for.
    std : array or None
        Standard deviation of samples [count/s/pixel], same shape, where `rate` is their mean.
    samples : array or None
        The samples [count/s/pixel], ``[n, s*y, s*x]`` float32.
    wcs : WCS or None
        Sky coordinates of these pixels, where those of the input were given.
    """

    rate: np.ndarray
    dq: np.ndarray
    err_lo: np.ndarray | None = None
    err_hi: np.ndarray | None = None
    net: np.ndarray | None = None
    support: Support | None = None
    wcs: WCS | None = None
    std: np.ndarray | None = None
    samples: np.ndarray | None = None

    def to_ccddata(self) -> CCDData:
        """Rate [count/s] with error, mask and sky coordinates, see `xmm_jax.nddata.to_ccddata`."""
        return to_ccddata(self)

    @property
    def significance(self) -> np.ndarray | None:
        """Rate in units of its lower error, ``[s*y, s*x]``; 0 where dead."""
        if self.err_lo is None:
            return None
        return np.divide(
            self.rate, self.err_lo, out=np.zeros_like(self.rate), where=self.err_lo > 0
        )


def to_hdus(
    observation: Observation, result: Enhanced, model: Model, history: Sequence[str]
) -> list[Any]:
    """FITS extensions of a result.

    Parameters
    ----------
    observation : Observation
        What went in.
    result : Enhanced
        What came out.
    model : Model
        What made it.
    history : sequence of str
        HISTORY cards.
    """
    task = TASKS[model.task]
    fine = regrid_header(observation.header, upscale=model.scale.upscale)
    coarse = regrid_header(observation.header)
    rate = fits.PrimaryHDU(result.rate, fine)
    rate.header["EXTNAME"] = "RATE"
    rate.header["BUNIT"] = (RATE_UNIT, "per pixel of this image")
    rate.header["EQUIVEXP"] = (
        task.target_exposure_s,
        "[s] RATE x EQUIVEXP: counts of such an image",
    )
    rate.header["BACKGRND"] = (task.target_background, "background is part of RATE")
    rate.header["CREATOR"] = f"xmm_jax {__version__}"
    for line in history:
        rate.header.add_history(in_header(line))
    errors = []
    if result.err_lo is not None:
        errors = [
            _image("ERR_LO", result.err_lo, fine, RATE_UNIT),
            _image("ERR_HI", result.err_hi, fine, RATE_UNIT),
            _image("SIGNIFICANCE", result.significance, fine, ""),
        ]
    drawn = [
        _image(name, image, fine, RATE_UNIT)
        for name, image in (("STD", result.std), ("SAMPLES", result.samples))
        if image is not None
    ]
    net = [] if result.net is None else [_image("NET", result.net, fine, RATE_UNIT)]
    dq = fits.ImageHDU(result.dq, fine, name="DQ")
    for bit, meaning in DQ_MEANINGS.items():
        dq.header[f"DQBIT{bit.bit_length() - 1}"] = (bit, meaning)
    counts = np.where(observation.valid, observation.counts, 0).astype(np.int32)
    return [
        rate,
        *drawn,
        *errors,
        *net,
        dq,
        _image("INPUT", counts, coarse, "count"),
        *_checks(observation, result, coarse),
    ]


def _checks(observation: Observation, result: Enhanced, header: fits.Header) -> list[Any]:
    if result.support is None:
        return []
    with ONE_AT_A_TIME:
        table = fits.table_to_hdu(to_table(result.support, wcs=observation.wcs))
        table.name = "SOURCES"
    return [_image("RESIDUAL", np.float32(result.support.residual), header, "sigma"), table]


def _image(name: str, data: Any, header: fits.Header, unit: str) -> Any:
    hdu = fits.ImageHDU(data, header, name=name)
    if unit:
        hdu.header["BUNIT"] = unit
    return hdu

"""Whether an image is of the kind the networks know: EPIC-pn, full frame, 0.5-2 keV, 4 arcsec.

What a header states must fit; what it does not state is assumed and said in a note.
"""

import re
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from xmm_jax.data.fitsfile import number
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN

BAND_EV = (500.0, 2000.0)
FULL_FRAME_MODES = ("PrimeFullWindow", "PrimeFullWindowExtended")
SKY_FILTERS = ("Thin1", "Thin2", "Medium", "Thick")

_NUMBER = r"(\d+(?:\.\d*)?)"
_RANGE = re.compile(rf"\bPI\s+in\s*[\[(]\s*{_NUMBER}\s*[:,]\s*{_NUMBER}", re.IGNORECASE)
_LOW = (re.compile(rf"\bPI\s*>=?\s*{_NUMBER}"), re.compile(rf"{_NUMBER}\s*<=?\s*PI\b"))
_HIGH = (re.compile(rf"\bPI\s*<=?\s*{_NUMBER}"), re.compile(rf"{_NUMBER}\s*>=?\s*PI\b"))
_IN_NAME = re.compile(
    r"(?:image|split|detxy)_(\d{2,5})(?:\.0)?_(\d{3,5})(?:\.0)?(?=[_.])|(\d+\.\d+)-(\d+\.\d+)keV"
)


def stated_band(header: fits.Header, name: str) -> tuple[float, float] | None:
    """Energy band of an image: PIMIN and PIMAX, else the event selection, else the file name.

    Parameters
    ----------
    header : Header
        Header with PIMIN, PIMAX [eV] or SLCTEXPR, the selection of SAS `evselect`.
    name : str
        File name; ``..._500_2000_...`` [eV] and ``...0.50-2.00keV...`` are understood.

    Returns
    -------
    tuple of float or None
        Lower and upper energy [eV]; None when nothing is stated.
    """
    if "PIMIN" in header and "PIMAX" in header:
        return number(header, "PIMIN"), number(header, "PIMAX")
    selection = str(header.get("SLCTEXPR", ""))
    ranges = _RANGE.findall(selection)
    low = [float(a) for a, _ in ranges] + [float(a) for p in _LOW for a in p.findall(selection)]
    high = [float(b) for _, b in ranges] + [float(b) for p in _HIGH for b in p.findall(selection)]
    if low and high:
        return max(low), min(high)
    found = _IN_NAME.search(name)
    if found is None:
        return None
    if found[1]:
        return float(found[1]), float(found[2])
    return 1000 * float(found[3]), 1000 * float(found[4])


def examine(
    header: fits.Header, detector: WCS | None, path: Path, *, force: bool
) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Refuse an image of another kind, or say what was assumed about it.

    Parameters
    ----------
    header : Header
        Header of the image.
    detector : WCS or None
        Detector axes of the image.
    path : Path
        The file, for the message and the band in its name.
    force : bool
        Turn refusals into notes.

    Returns
    -------
    band_kev : tuple of float
        Energy band [keV].
    notes : tuple of str
        What was assumed or overridden, one line each.

    Raises
    ------
    InputError
        The image states another instrument, mode, filter, band or pixel grid, and not `force`.
    """
    band = stated_band(header, path.name)
    faults = [fault for fault in (*_camera_faults(header), _grid_fault(detector)) if fault]
    if band is not None and not np.allclose(band, BAND_EV, atol=10):
        low, high = (energy / 1000 for energy in band)
        faults.append(f"energy band {low:g}-{high:g} keV, not 0.5-2 keV (PI 500-2000)")
    if faults and not force:
        raise InputError(
            f"{path}: {'; '.join(faults)}; the networks do not know such images, "
            "--force applies them all the same"
        )
    notes = [f"forced: {fault}" for fault in faults]
    silent = [key for key in ("INSTRUME", "SUBMODE", "FILTER") if not _word(header, key)]
    silent += [] if band else ["energy band"]
    if silent:
        notes.append(f"not stated, taken as EPIC-pn full frame 0.5-2 keV: {', '.join(silent)}")
    band = band or BAND_EV
    return (band[0] / 1000, band[1] / 1000), tuple(notes)


def _word(header: fits.Header, key: str) -> str:
    """Keyword as a stripped string, empty when absent."""
    return str(header.get(key, "")).strip()


def _camera_faults(header: fits.Header) -> list[str]:
    """What the header states about telescope, camera, mode and filter that does not fit."""
    allowed = {
        "TELESCOP": ("XMM", "XMM-NEWTON"),
        "INSTRUME": ("EPN", "PN", "EPIC-PN"),
        "DATAMODE": ("IMAGING",),
        "SUBMODE": tuple(mode.upper() for mode in FULL_FRAME_MODES),
        "FILTER": tuple(name.upper() for name in SKY_FILTERS),
    }
    wanted = {
        "TELESCOP": "XMM-Newton",
        "INSTRUME": "EPIC-pn",
        "DATAMODE": "imaging",
        "SUBMODE": "a full-frame mode",
        "FILTER": "Thin1, Medium or Thick",
    }
    return [
        f"{key} is {_word(header, key)}, not {wanted[key]}"
        for key, words in allowed.items()
        if _word(header, key) and _word(header, key).upper() not in words
    ]


def _grid_fault(detector: WCS | None) -> str:
    """How the detector axes differ from those of every 4 arcsec EPIC-pn image, empty if not."""
    if detector is None:
        return ""
    first, second = np.asarray(detector.wcs_pix2world([[0, 0], [1, 1]], 0))
    step = second - first
    if np.allclose(first, PN.det_origin, atol=4) and np.allclose(step, PN.det_step, atol=0.01):
        return ""
    return (
        f"first pixel at DETX, DETY = {first[0]:g}, {first[1]:g} in steps of {step[0]:g}, "
        f"{step[1]:g}, not {PN.det_origin[0]:g}, {PN.det_origin[1]:g} in steps of {PN.det_step:g}"
    )

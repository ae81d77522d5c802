"""Where a pixel lies: sky and detector coordinates of an image, moved exactly to another grid.

FITS pixel numbers count from 1 and the centre of the first pixel is (1, 1). Enlarging by a factor
s after adding (px, py) pixels at the low side maps pixel p to s (p + pad) - (s - 1)/2, so for s = 2
without padding CRPIX becomes 2 CRPIX - 0.5.
"""

import copy
import re

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import ArrayLike

from xmm_jax.data.fitsfile import number

DET_UNIT_ARCSEC = 0.05
"""Step of DETX and DETY [arcsec] (XMM-Newton Data Files Handbook)."""

AIM_DET = (-1059.5, 1480.5)
"""DETX, DETY of (RA_PNT, DEC_PNT) on EPIC-pn [0.05 arcsec]; what SAS `ecoordconv` gives for pn
images from 2008 to 2021 is within 1.5 arcsec of it (time-variable boresight, XMM_BORESIGHT)."""

ROLL_DEG = 0.25
"""Position angle of +DETX on EPIC-pn minus PA_PNT [deg]. Measured on two pointings at NGC 1399 and
NGC 1404 with 149 deg between their rolls: catalogue and image agree to 1.0-2.4 arcsec, against
2.3-3.8 arcsec without it."""

_FROM_POINTING = ("POINTING", "HEADER")
"""WCSMETH of a WCS from RA_PNT, DEC_PNT, PA_PNT: `enhance` writes the first, `image` the second."""

_STALE = re.compile(
    r"""SIMPLE|XTENSION|BITPIX|NAXIS\d?|EXTEND|EXTNAME|EXTVER|PCOUNT|GCOUNT|GROUPS  # structure
    |BSCALE|BZERO|BLANK|DATAMIN|DATAMAX|BUNIT|CHECKSUM|DATASUM                 # pixel values
    |XPROC\d+|XDAL\d+|CREATOR|DATE|XMMSEP|COMMENT|CONTENT|HDUCLA\w+|HDUVER\w+   # processing
    |\d*DS(TYP|VAL|REF|UNI|FORM)\d+                                             # data subspace
    |WCSAXES[A-Z]?|WCSNAME[A-Z]?|(CTYPE|CUNIT|CRPIX|CRVAL|CDELT|CROTA|CROT|CNAME)\d[A-Z]?
    |(CD|PC|PV|PS)\d+_\d+[A-Z]?|LTV\d|LTM\d_\d|(LONPOLE|LATPOLE|RADESYS|EQUINOX)[A-Z]?|RADECSYS
    |WCSMETH""",
    re.VERBOSE,
)


def sky_wcs(header: fits.Header) -> tuple[WCS | None, str]:
    """Celestial WCS of an EPIC-pn image: the one of the file, else built from the pointing.

    Files mix conventions (CD beside CDELT and CROTA2, CROT2 for CROTA2, RADECSYS for RADESYS); the
    result is always one CD matrix. CD outranks PC, PC outranks CROTA2 (FITS standard 4.0, 8.1).
    A detector image without celestial axes gets a tangent projection about (RA_PNT, DEC_PNT),
    accurate to about 2.5 arcsec.

    Parameters
    ----------
    header : Header
        Header of the image.

    Returns
    -------
    wcs : WCS or None
        Celestial WCS, None when the header does not say where the camera pointed.
    method : str
        ``"file"``, ``"pointing"`` or ``"none"``.
    """
    if header.get("WCSMETH") == "NONE":  # no WCS holds: the camera moved during the exposure
        return None, "none"
    wcs = _file_wcs(header)
    if wcs is not None:
        return wcs, "pointing" if header.get("WCSMETH") in _FROM_POINTING else "file"
    wcs = _pointing_wcs(header)
    return wcs, "none" if wcs is None else "pointing"


def _file_wcs(header: fits.Header) -> WCS | None:
    """Celestial WCS that the header holds, if it holds a complete one."""
    names = [str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)]
    if not re.fullmatch(r"RA---[A-Z]{3} DEC--[A-Z]{3}", " ".join(names)):
        return None
    if any(key not in header for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")):
        return None
    matrix = _cd_matrix(header)
    if not abs(np.linalg.det(matrix)) > 0:
        return None
    wcs = _tangent(
        centre=[number(header, "CRVAL1"), number(header, "CRVAL2")],
        pixel=[number(header, "CRPIX1"), number(header, "CRPIX2")],
        matrix=matrix,
        header=header,
    )
    wcs.wcs.ctype = names
    for key in ("LONPOLE", "LATPOLE"):
        if key in header:
            setattr(wcs.wcs, key.lower(), number(header, key))
    wcs.wcs.set()
    return wcs


def _cd_matrix(header: fits.Header) -> np.ndarray:
    """Pixel to intermediate coordinates [deg/pixel] from any of the three FITS conventions."""
    cells = ((1, 1), (1, 2), (2, 1), (2, 2))
    if any(f"CD{i}_{j}" in header for i, j in cells):
        return np.array([number(header, f"CD{i}_{j}", 0) for i, j in cells]).reshape(2, 2)
    step = np.array([number(header, "CDELT1", 1), number(header, "CDELT2", 1)])
    if any(f"PC{i}_{j}" in header for i, j in cells):
        turn = [number(header, f"PC{i}_{j}", float(i == j)) for i, j in cells]
        return step[:, None] * np.array(turn).reshape(2, 2)
    angle = np.deg2rad(number(header, "CROTA2", number(header, "CROT2", 0)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn * step  # old convention: the increments act before the rotation


def _pointing_wcs(header: fits.Header) -> WCS | None:
    """Tangent projection of a detector image about the pointing; east lies right of north."""
    detector = detector_wcs(header)
    if detector is None or any(key not in header for key in ("RA_PNT", "DEC_PNT", "PA_PNT")):
        return None
    angle = np.deg2rad(90 - number(header, "PA_PNT") - ROLL_DEG)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    step = np.asarray(detector.wcs.cdelt) * DET_UNIT_ARCSEC / 3600
    pixel = detector.wcs.crpix + (np.asarray(AIM_DET) - detector.wcs.crval) / detector.wcs.cdelt
    centre = [number(header, "RA_PNT"), number(header, "DEC_PNT")]
    return _tangent(centre, pixel, turn * step, header)


def _tangent(centre: ArrayLike, pixel: ArrayLike, matrix: np.ndarray, header: fits.Header) -> WCS:
    """TAN projection with a CD matrix in the reference frame that the header names."""
    wcs = WCS(naxis=2, fix=False)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = centre
    wcs.wcs.crpix = pixel
    wcs.wcs.cd = matrix
    frame = str(header.get("RADESYS", header.get("RADECSYS", ""))).strip().upper()
    wcs.wcs.radesys = frame or ("FK5" if "EQUINOX" in header else "ICRS")
    if wcs.wcs.radesys.startswith("FK"):
        wcs.wcs.equinox = number(header, "EQUINOX", 2000)
    wcs.wcs.set()
    return wcs


def detector_wcs(header: fits.Header) -> WCS | None:
    """Linear WCS from pixels to DETX, DETY [0.05 arcsec], None when the header holds none.

    Parameters
    ----------
    header : Header
        Header of the image; SAS writes these axes under the suffix L, and without suffix when
        the image has no celestial ones.

    Returns
    -------
    WCS or None
        Linear WCS with axes DETX, DETY.
    """
    for suffix in ("L", ""):
        names = [str(header.get(f"CTYPE{axis}{suffix}", "")).strip() for axis in (1, 2)]
        if names == ["DETX", "DETY"]:
            wcs = WCS(naxis=2, fix=False)
            wcs.wcs.ctype = names
            for field, default in (("crpix", 0.0), ("crval", 0.0), ("cdelt", 1.0)):
                keys = (f"{field.upper()}{axis}{suffix}" for axis in (1, 2))
                setattr(wcs.wcs, field, [number(header, key, default) for key in keys])
            wcs.wcs.set()
            return wcs
    return None


def regrid_wcs(wcs: WCS, *, pad: tuple[int, int] = (0, 0), upscale: int = 1) -> WCS:
    """Move a WCS to a grid with more pixels at the low side, then `upscale` times finer.

    Parameters
    ----------
    wcs : WCS
        Two axes, linear or with a CD matrix.
    pad : tuple of int
        Pixels added at the low side in (x, y), in pixels of the old grid; negative crops.
    upscale : int
        Factor by which pixels shrink.

    Returns
    -------
    WCS
        The same positions on the new grid.
    """
    moved = WCS(naxis=2, fix=False)
    moved.wcs = copy.deepcopy(wcs.wcs)
    moved.wcs.crpix = upscale * (wcs.wcs.crpix + np.asarray(pad)) - (upscale - 1) / 2
    if wcs.wcs.has_cd():
        moved.wcs.cd = wcs.wcs.cd / upscale
    else:
        moved.wcs.cdelt = wcs.wcs.cdelt / upscale
    moved.wcs.set()
    return moved


def regrid_header(
    header: fits.Header | None, *, pad: tuple[int, int] = (0, 0), upscale: int = 1
) -> fits.Header:
    """Header of the same image on a padded or cropped, then `upscale` times finer grid.

    Keeps what describes the observation; drops structure, checksums, data-subspace and processing
    cards and every old WCS card; writes one celestial WCS (CD matrix), and the detector axes as
    WCS L with the matching LTV, LTM, where the input has them.

    Parameters
    ----------
    header : Header or None
        Header of the input image; None gives an empty header.
    pad : tuple of int
        Pixels added at the low side in (x, y), in pixels of the old grid; negative crops.
    upscale : int
        Factor by which pixels shrink.

    Returns
    -------
    Header
        Ready for an astropy HDU, which adds the structural cards.
    """
    source = fits.Header() if header is None else header
    output = fits.Header([card for card in source.cards if not _STALE.fullmatch(card.keyword)])
    sky, method = sky_wcs(source)
    if sky is not None:
        made = str(source.get("WCSMETH", method.upper()))
        output.extend(_sky_cards(regrid_wcs(sky, pad=pad, upscale=upscale), made))
        output.extend(_epoch_cards(output), update=True)
    elif source.get("WCSMETH") == "NONE":
        output["WCSMETH"] = ("NONE", "the camera moved, no WCS holds")
    detector = detector_wcs(source)
    if detector is not None:
        output.extend(_detector_cards(regrid_wcs(detector, pad=pad, upscale=upscale)))
    return output


def _sky_cards(wcs: WCS, method: str) -> list[fits.Card]:
    """FITS cards of a celestial WCS; astropy's own would split the CD matrix into PC and CDELT."""
    core = wcs.wcs
    cards = [fits.Card("WCSAXES", 2, "number of WCS axes")]
    for axis in (0, 1):
        n = axis + 1
        cards += [
            fits.Card(f"CTYPE{n}", core.ctype[axis], "gnomonic projection"),
            fits.Card(f"CUNIT{n}", "deg", "unit of CRVAL and CD"),
            fits.Card(f"CRPIX{n}", float(core.crpix[axis]), "reference pixel, first pixel is 1"),
            fits.Card(f"CRVAL{n}", float(core.crval[axis]), "[deg] sky position of it"),
            fits.Card(f"CD{n}_1", float(core.cd[axis, 0]), "[deg/pixel]"),
            fits.Card(f"CD{n}_2", float(core.cd[axis, 1]), "[deg/pixel]"),
        ]
    cards += [
        fits.Card("LONPOLE", float(core.lonpole), "[deg] native longitude of the pole"),
        fits.Card("RADESYS", core.radesys, "celestial reference frame"),
    ]
    if core.radesys.startswith("FK"):
        cards.append(fits.Card("EQUINOX", float(core.equinox), "[yr] equinox of the frame"))
    said = "celestial WCS as in the input file"
    if method in _FROM_POINTING:
        said = "WCS from RA/DEC/PA_PNT, good to 2.5 arcsec"
    elif method == "LSQ-EVENTS":
        said = "WCS fitted to X, Y, DETX, DETY of the events"
    return [*cards, fits.Card("WCSMETH", method, said)]


def _epoch_cards(header: fits.Header) -> list[fits.Card]:
    """Dates as MJD: without them astropy fills them in and warns whenever the file is opened."""
    core = WCS(header, fix=False).wcs
    core.fix()
    cards = [fits.Card("DATEREF", core.dateref, "MJDREF as a date")] if core.mjdref.any() else []
    dates = (
        ("MJD-OBS", core.mjdobs, "start of the exposure"),
        ("MJD-BEG", core.mjdbeg, "start of the good time"),
        ("MJD-END", core.mjdend, "end"),
    )
    return cards + [
        fits.Card(key, float(day), f"[d] {which}") for key, day, which in dates if np.isfinite(day)
    ]


def _detector_cards(wcs: WCS) -> list[fits.Card]:
    """FITS cards of the detector axes: WCS L and the IRAF LTV, LTM that ds9 reads."""
    core = wcs.wcs
    cards = [
        fits.Card("WCSNAMEL", "PHYSICAL", "detector coordinates"),
        fits.Card("WCSAXESL", 2, "number of axes of WCS L"),
    ]
    for axis in (0, 1):
        n = axis + 1
        crpix, crval, cdelt = core.crpix[axis], core.crval[axis], core.cdelt[axis]
        cards += [
            fits.Card(f"CTYPE{n}L", core.ctype[axis], "detector axis, steps of 0.05 arcsec"),
            fits.Card(f"CRPIX{n}L", float(crpix), "reference pixel, first pixel is 1"),
            fits.Card(f"CRVAL{n}L", float(crval), "detector position of it"),
            fits.Card(f"CDELT{n}L", float(cdelt), "detector steps per pixel"),
            fits.Card(f"LTV{n}", float(crpix - crval / cdelt), "pixel of detector position 0"),
            fits.Card(f"LTM{n}_{n}", float(1 / cdelt), "pixels per detector step"),
        ]
    return cards

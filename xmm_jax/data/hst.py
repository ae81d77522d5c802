"""Drizzled images of WFC3/UVIS: read them, take cosmic rays out, choose crops."""

import importlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from xmm_jax.data.fitsfile import number, read_image
from xmm_jax.errors import InputError

FILTERS = ("F555W", "F606W")  # in the order of the bands of the simulator
# How rates and sums of electrons are written by the pipelines, upper case without blanks.
RATES = ("ELECTRONS/S", "ELECTRONS/SEC", "ELECTRON/S", "E-/S", "E/S")
SUMS = ("ELECTRONS", "ELECTRON", "E-")
READ_NOISE_E = 3.0  # [electron/pixel], as in the published code of Astro U-net


@dataclass(frozen=True, eq=False)
class Drizzled:
    """A drizzled image.

    Parameters
    ----------
    rate : ndarray, shape (y, x)
        Rate [electron/s/pixel], float32; 0 where not valid.
    exposure_s : float
        Exposure of the whole image [s].
    valid : ndarray, shape (y, x)
        True where there is a measurement.
    filter : str
        Name of the filter, such as ``F606W``.
    header : Header
        Header of the image, with what only the primary header says.
    path : Path
        The file.
    """

    rate: np.ndarray
    exposure_s: float
    valid: np.ndarray
    filter: str
    header: fits.Header
    path: Path

    @property
    def band(self) -> int | None:
        """Index in `FILTERS`; None for another filter."""
        return FILTERS.index(self.filter) if self.filter in FILTERS else None


def read_drizzled(path: str | Path) -> Drizzled:
    """Read a drizzled image: extensions SCI and WHT, or a file of one image.

    Parameters
    ----------
    path : str or Path
        FITS file, plain or compressed. Units are the card ``BUNIT``: electrons per second, or
        electrons, which are divided by ``EXPTIME``.

    Returns
    -------
    Drizzled
        A pixel is valid where it is finite and, if there is an extension ``WHT``, its weight is
        above 0; without that extension, where it is not exactly 0.

    Raises
    ------
    InputError
        The file cannot be read, its first image is not science, or units, exposure or weights are
        missing or make no sense.
    """
    path = Path(path)
    image = read_image(path)
    name = str(image.header.get("EXTNAME") or "SCI").strip().upper()
    if name in ("WHT", "CTX"):
        raise InputError(f"{path}: its first image is {name}; expected SCI, fetch a whole drizzle")
    exposure_s = _exposure_s(image.header, path)
    data = image.data.astype(np.float32)
    with np.errstate(invalid="ignore"):  # of NaN
        weight = image.extensions.get("WHT")
        if weight is not None and weight.shape != data.shape:
            raise InputError(f"{path}: WHT is not as large as SCI; fetch or make the file again")
        valid = np.isfinite(data) & (data != 0 if weight is None else weight > 0)
    rate = np.where(valid, data / np.float32(_divisor(image.header, exposure_s, path)), 0.0)
    return Drizzled(
        rate=rate.astype(np.float32),
        exposure_s=exposure_s,
        valid=valid,
        filter=str(image.header.get("FILTER") or "").strip().upper(),
        header=image.header,
        path=path,
    )


def _exposure_s(header: fits.Header, path: Path) -> float:
    """Exposure [s] or one line saying why there is none."""
    try:
        exposure_s = number(header, "EXPTIME")
    except ValueError as error:
        raise InputError(f"{path}: {error} of seconds; write EXPTIME into its header") from None
    if not 0.0 < exposure_s < np.inf:
        raise InputError(f"{path}: EXPTIME is {exposure_s:g} s; write the exposure into its header")
    return exposure_s


def _divisor(header: fits.Header, exposure_s: float, path: Path) -> float:
    """What pixel values are divided by to be electrons per second."""
    unit = "".join(str(header.get("BUNIT") or "").split()).upper()
    if unit in RATES:
        return 1.0
    if unit in SUMS:
        return exposure_s
    found = f"BUNIT is {unit!r}" if unit else "there is no BUNIT"
    raise InputError(
        f"{path}: {found}; convert the image and write BUNIT = 'ELECTRONS/S' into its header"
    )


def remove_cosmic_rays(image: Drizzled, *, sigma: float = 5.0, contrast: float = 5.0) -> Drizzled:
    """Replace what cosmic rays left by its neighbours.

    L.A.Cosmic (van Dokkum 2001, PASP 113, 1420) as in ``astroscrappy``.

    Parameters
    ----------
    image : Drizzled
        The image.
    sigma : float
        Significance in the Laplacian from which a pixel is suspect.
    contrast : float
        How much sharper than the image of a star it has to be; lower takes more, in undersampled
        images the middles of stars too.

    Returns
    -------
    Drizzled
        The same with a cleaned `rate`; pixels without hits stay as they are.

    Raises
    ------
    InputError
        ``astroscrappy`` is not installed.
    """
    try:
        astroscrappy = importlib.import_module("astroscrappy")
    except ImportError:
        raise InputError(
            "cosmic rays need astroscrappy; install it with: pip install 'xmm-jax[hst]'"
        ) from None
    electrons = image.rate * np.float32(image.exposure_s)
    live = electrons[image.valid]
    if not live.size:
        return image
    # The sky is subtracted, so its noise is measured: 1.4826 median absolute deviations.
    spread = 1.4826 * float(np.median(np.abs(live - np.median(live))))
    floor = max(spread, READ_NOISE_E) ** 2
    hit, cleaned = astroscrappy.detect_cosmics(
        electrons,
        inmask=~image.valid,
        invar=(np.maximum(electrons, 0.0) + floor).astype(np.float32),
        sigclip=sigma,
        objlim=contrast,
        readnoise=READ_NOISE_E,
        satlevel=float(np.finfo(np.float32).max),  # saturated stars are no cosmic rays
        gain=1.0,
    )
    rate = np.where(hit & image.valid, cleaned / np.float32(image.exposure_s), image.rate)
    return replace(image, rate=rate.astype(np.float32))


def choose_crop(rng: np.random.Generator, rate: np.ndarray, side: int) -> tuple[int, int]:
    """Choose a crop that is not mostly empty, by the rule of the published code of Astro U-net.

    Parameters
    ----------
    rng : Generator
        Where the places come from.
    rate : ndarray, shape (y, x)
        The image, any unit, before negative pixels are set to 0.
    side : int
        Side of the crop [pixel].

    Returns
    -------
    y, x : int
        First row and column. Places are tried until less than a tenth of the pixels are exactly 0;
        the twelfth to the sixteenth try may have up to 0.3 of them, the seventeenth any.

    Raises
    ------
    InputError
        The image is smaller than the crop.
    """
    height, width = rate.shape
    if side > min(height, width):
        raise InputError(
            f"an image of {width} x {height} pixels has no crop of {side}; take smaller crops"
        )
    tries = 0
    while True:
        y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        empty = np.mean(rate[y : y + side, x : x + side] == 0)
        if tries > 15 or empty < (0.3 if tries > 10 else 0.1):
            return y, x
        tries += 1

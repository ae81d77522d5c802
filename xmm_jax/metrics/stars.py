"""How well the stars of an optical image come back: the figures of Astro U-net.

Vojtekova et al. 2021, section 4; equations in what follows are theirs. Stars are found by
`xmm_jax.data.extraction` in place of SExtractor and matched here in place of STILTS. Images are in
electrons, ``[y, x]``. `CAVEAT` says what the figures do not say.
"""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from xmm_jax.data.extraction import GAIN, Sources, extract
from xmm_jax.errors import InputError
from xmm_jax.losses.ssim import ssim
from xmm_jax.metrics.photometry import signal_to_noise

RADIUS = 2.0
"""Farthest that the same star may lie apart in two images [pixel]; the paper gives none."""

BINS = 100
PERCENTILES = (0.1, 99.9)
"""Of the target, between which pixel values are counted; ours, the paper gives no bins."""

CAVEAT = (
    "PSNR and SSIM are relative to the largest value of the target, a star or not: compare them on "
    "the same target only, absolute values mean little.",
    "A PSNR of -16 dB, as printed for the input, needs an RMS error of 6.3 times that value (eq. "
    "13): no two images in one unit between 0 and that value give less than 0 dB.",
    "RFE covers the stars that an image shows: of the input only the bright ones. Compare "
    "RFE_common, over stars found in all images.",
    "SNR_f likewise compares different stars: SNR_f_common does not. That of the input is 1 by its "
    "definition (eq. 28); the 0.67 printed for it must be something else.",
)
"""What to print below a table of these figures."""


def match(found: Sources, truth: Sources, *, radius: float = RADIUS) -> np.ndarray:
    """Which found star is which true one: each the nearest of the other.

    Parameters
    ----------
    found, truth : Sources
        Stars of two images on the same pixels.
    radius : float
        Farthest that two may lie apart [pixel], inclusive.

    Returns
    -------
    ndarray
        For each true star the place of its partner in `found`, -1 if it has none.
    """
    from scipy.spatial import KDTree

    if not len(found.x) or not len(truth.x):
        return np.full(len(truth.x), -1)
    spots, wanted = (np.column_stack([stars.x, stars.y]) for stars in (found, truth))
    apart, there = KDTree(spots).query(wanted)
    _, back = KDTree(wanted).query(spots)
    mutual = np.asarray(back)[there] == np.arange(len(wanted))
    return np.where(mutual & (apart <= radius), there, -1)


def relative_flux_error(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean of ``|F_true - F| / F_true`` and its standard error [%].

    Equation 25, absolute as in figure 6.

    Parameters
    ----------
    found, truth : ndarray
        Fluxes of the same stars, same unit; those with a true flux that is not positive are left
        out.

    Returns
    -------
    tuple of float
        Mean, NaN for no star, and standard deviation over the root of the number, NaN for one.
    """
    good = truth > 0
    errors = 100 * np.abs(truth[good] - found[good]) / truth[good]
    number = len(errors)
    mean = float(errors.mean()) if number else math.nan
    return mean, float(errors.std(ddof=1) / math.sqrt(number)) if number > 1 else math.nan


def compare_catalogues(
    found: Mapping[str, Sources],
    truth: Sources,
    *,
    reference: str = "input",
    radius: float = RADIUS,
) -> dict[str, dict[str, float]]:
    """Figures of stars found in several images of one field.

    Parameters
    ----------
    found : mapping of str to Sources
        By the name of the image.
    truth : Sources
        Stars of the target.
    reference : str
        Name of the image whose SNR is 1 in SNR_f: the noisy input.
    radius : float
        As in `match`.

    Returns
    -------
    dict of str to dict
        By name: ``stars`` found; ``TPR`` [%] of the true ones; ``precision`` and ``F`` (equations
        22 to 24); ``RFE`` and ``RFE_err`` [%] of the true positives; ``SNR`` of all found (equation
        26); ``SNR_f`` (equation 28). On the stars found in *all* images ``common``, their number,
        ``RFE_common``, ``RFE_common_err``, ``SNR_common``, ``SNR_f_common``. NaN where there is
        nothing to divide by.

    Raises
    ------
    InputError
        If there is no image of the name `reference`.
    """
    if reference not in found:
        raise InputError(f"no image is called {reference!r}; there are {', '.join(found)}")
    partners = {name: match(stars, truth, radius=radius) for name, stars in found.items()}
    common = np.all([partner >= 0 for partner in partners.values()], axis=0)
    rows = {name: _detected(stars, truth, partners[name], common) for name, stars in found.items()}
    for row in rows.values():
        for name, of in (("SNR_f", "SNR"), ("SNR_f_common", "SNR_common")):
            row[name] = _share(row[of], rows[reference][of])
    return rows


def pixel_figures(
    image: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None
) -> dict[str, float]:
    """Figures of pixels, with the largest value of the target as the range of values.

    Parameters
    ----------
    image, target : ndarray
        ``[y, x]``, same unit.
    valid : ndarray of bool, optional
        Pixels that count, same shape.

    Returns
    -------
    dict of str to float
        ``KL`` of `pixel_divergence`; ``PSNR`` [dB] (equation 13); ``SSIM`` (equation 21) with the
        window and constants of `xmm_jax.losses.ssim`, as the paper gives none. NaN if no value of
        the target is positive.

    Raises
    ------
    InputError
        If shapes differ or images are smaller than the window of SSIM, 13 pixels.
    """
    shapes = {np.shape(x) for x in (image, target, target if valid is None else valid)}
    if len(shapes) > 1:
        raise InputError(f"images cannot be compared, expected one shape and got {sorted(shapes)}")
    live = np.ones(np.shape(target), bool) if valid is None else np.asarray(valid, bool)
    image, target = (np.where(live, x, 0).astype(np.float64) for x in (image, target))
    row = {"KL": pixel_divergence(image[live], target[live]), "PSNR": math.nan, "SSIM": math.nan}
    peak = float(target.max())
    if live.any() and peak > 0:
        error = float(np.mean(np.square(image - target)[live]))
        row["PSNR"] = 10 * math.log10(peak**2 / error) if error else math.inf
        a, b, c = (jnp.asarray(x)[None, ..., None] for x in (
            np.float32(image / peak), np.float32(target / peak), live))  # fmt: skip
        row["SSIM"] = float(ssim(a, b, c)[0])
    return row


def pixel_divergence(image: np.ndarray, target: np.ndarray, *, bins: int = BINS) -> float:
    """Divergence of the distributions of pixel values, sum of p ln(p / q), p that of the target.

    Equation 9 on histograms (section 4.2, figure 7). Bins of equal width lie between the 0.1 and
    99.9 percentiles of the target, one more on either side takes all that is beyond; each begins
    with half a pixel, so that none is empty.

    Parameters
    ----------
    image, target : ndarray
        Values, same unit, any shape.
    bins : int
        Between the percentiles.

    Returns
    -------
    float
        [nat], 0 for the same distribution; NaN without pixels.
    """
    if not np.size(target) or not np.size(image):
        return math.nan
    low, high = np.percentile(target, PERCENTILES)
    edges = np.linspace(low, high, bins + 1)
    p, q = (
        np.bincount(np.searchsorted(edges, np.ravel(x), "right"), minlength=bins + 2) + 0.5
        for x in (target, image)
    )
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


def judge_stars(
    images: Mapping[str, np.ndarray],
    target: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    reference: str = "input",
    radius: float = RADIUS,
    gain: float = GAIN,
) -> dict[str, dict[str, float]]:
    """All figures of several images of one field, as in table 2 of the paper; read `CAVEAT`.

    Parameters
    ----------
    images : mapping of str to ndarray
        ``[y, x]`` [electron] of the exposure of the target, by name: ``input``, ``prediction`` ...
    target : ndarray
        ``[y, x]`` [electron].
    valid : ndarray of bool, optional
        Pixels that count, same shape.
    reference : str
        Name of the noisy input.
    radius : float
        As in `match` [pixel].
    gain : float
        As in `xmm_jax.data.extraction.extract`.

    Returns
    -------
    dict of str to dict
        By name, what `compare_catalogues` and `pixel_figures` give. A row ``target`` with its
        ``stars`` and ``SNR`` comes last.

    Raises
    ------
    InputError
        If `sep` is not installed, shapes differ or the reference is missing.
    """
    truth = extract(target, valid, gain=gain)
    found = {name: extract(image, valid, gain=gain) for name, image in images.items()}
    rows = compare_catalogues(found, truth, reference=reference, radius=radius)
    for name, image in images.items():
        rows[name] |= pixel_figures(image, target, valid)
    return rows | {"target": {"stars": float(len(truth.x)), "SNR": _snr(truth)}}


def _detected(
    stars: Sources, truth: Sources, partner: np.ndarray, common: np.ndarray
) -> dict[str, float]:
    seen = partner >= 0
    right, number, wanted = int(seen.sum()), len(stars.x), len(truth.x)
    row = {"stars": float(number), "TPR": 100 * _share(right, wanted)}
    # 2 P R / (P + R) with P and R written out.
    row |= {"precision": _share(right, number), "F": _share(2 * right, number + wanted)}
    row["RFE"], row["RFE_err"] = relative_flux_error(stars.flux[partner[seen]], truth.flux[seen])
    both = partner[common]
    row["common"] = float(len(both))
    row["RFE_common"], row["RFE_common_err"] = relative_flux_error(
        stars.flux[both], truth.flux[common]
    )
    row["SNR"] = _snr(stars)
    row["SNR_common"] = _snr(Sources(*(column[both] for column in stars)))
    return row


def _snr(stars: Sources) -> float:
    """Mean of F / sqrt(E^2 + B^2), equation 26; B is that of the place of each star."""
    return signal_to_noise(
        {"flux": stars.flux, "error": stars.flux_err, "background": stars.background}
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan

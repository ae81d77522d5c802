"""Point-like sources in a rate image, found by the same rule whatever made the image.

A source is a local maximum of the image smoothed by 1 arcsec that

* is significant after a matched filter of 4 arcsec: its excess over the surroundings, as counts of
  the *observation*, is judged against the photon noise of the observation, not against the noise
  of the image, which a denoiser can make as small as it likes; and
* is parted from every brighter neighbour by a dip that the noise of the *image* does not make.

The settings are the same for all methods. They were compared with segmentation and deblending of
the same filtered image (photutils, 32 levels, contrast 0.005, the better of filters of 2 and 4
arcsec) on eight simulated fields of 20 ks and on some 190 planted pairs of 100 counts each, by
which they were also chosen:

=====================================================  ==============  ==================
figure                                                  this detector   segmentation
=====================================================  ==============  ==================
completeness beyond 30 counts at 95 % purity, input     0.69 +- 0.06    0.71 (4 arcsec)
the same, noise-free target of super-resolution         0.97            0.94 (4 arcsec)
pairs parted at 6 / 8 / 10 arcsec, target               0.78/1/1        0/0.05/0.87 (2)
single sources of 100 counts split, input               0.03            0.005 (2)
seconds for an image of 822 x 806                       0.10            0.25
=====================================================  ==============  ==================

On fields of background alone it finds 0.03 sources a field in raw counts.
"""

from typing import NamedTuple

import numpy as np

from xmm_jax.instrument.camera import PN, Camera, to_native

KERNEL_ARCSEC = 4.0  # sigma of the matched filter
FINE_ARCSEC = 1.0  # sigma under which neighbours are told apart
RING_ARCSEC = 24.0  # sigma of the surroundings
REACH_ARCSEC = 16.0  # a fainter maximum nearer than this must be parted by a dip
DIP_SIGMA, DIP_SHARE = 3.0, 0.05
THRESHOLD = 5.0  # of what counts as found
QUIET = 0.1  # grain up to which an image is as good as free of noise
CANDIDATE = 3.5  # of what is worth a line in a table
Table = dict[str, np.ndarray]


def smooth(image: np.ndarray, live: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian mean over the live pixels.

    Parameters
    ----------
    image : ndarray
        [y, x].
    live : ndarray of bool
        Pixels that count.
    sigma : float
        Of the Gaussian [pixel].

    Returns
    -------
    ndarray
        [y, x] float32 in the unit of `image`, 0 where not live.
    """
    share = _blur(live.astype(np.float32), sigma)
    return _divide(_blur(np.where(live, image, 0).astype(np.float32), sigma), share, live)


def significance(background: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """How unlikely an excess is, as the sigma of a normal law.

    Parameters
    ----------
    background, excess : array
        Expected counts and counts beyond them [count]; need not be whole numbers.

    Returns
    -------
    ndarray
        sqrt of twice the log likelihood ratio of the Poisson law (Cash 1979, ApJ 228, 939), 0 where
        there is no excess.
    """
    b, s = np.maximum(background, 1e-6), np.maximum(excess, 0.0)
    return np.sqrt(np.maximum(2.0 * ((b + s) * np.log1p(s / b) - s), 0.0))


class Filtered(NamedTuple):
    """An image after the matched filter, on its own grid ``[s*y, s*x]``.

    Attributes
    ----------
    live : ndarray of bool
        Pixels that count.
    seconds : ndarray
        Live time of the observation [s].
    level, around : ndarray
        Surroundings: counts of the observation [count/pixel], rate of the image [count/s/pixel].
    mean : ndarray
        The image under the filter [count/s/pixel].
    excess : ndarray
        What a source there has more than its surroundings [count/s].
    sigma : ndarray
        Significance of the excess [sigma], 0 where dead.
    """

    live: np.ndarray
    seconds: np.ndarray
    level: np.ndarray
    around: np.ndarray
    mean: np.ndarray
    excess: np.ndarray
    sigma: np.ndarray


def matched_filter(
    rate: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    camera: Camera = PN,
) -> Filtered:
    """How significant the excess around every pixel is.

    Parameters
    ----------
    rate, counts, exposure, valid, camera
        As for `detect`.

    Returns
    -------
    Filtered
        Maps of the image.
    """
    upscale = rate.shape[0] // counts.shape[0]
    live = np.asarray(valid, bool) & (exposure > 0)
    fine, seconds = _spread(live, upscale), _spread(exposure, upscale)
    level, around = (
        _spread(smooth(image, live, RING_ARCSEC / camera.pixel_arcsec), upscale) / upscale**2
        for image in (counts, _bin(np.where(fine, rate, 0.0), upscale))
    )
    width = KERNEL_ARCSEC * upscale / camera.pixel_arcsec
    # Beside dead pixels the filter takes in less, of sources and of noise.
    share = _blur(fine.astype(np.float32), width)
    mean = _divide(_blur(np.where(fine, rate, 0).astype(np.float32), width), share, fine)
    excess = (mean - around) * _area(width)
    area = _area(width) * share
    sigma = np.where(fine, significance(level * area, (mean - around) * seconds * area), 0.0)
    return Filtered(fine, seconds, level, around, mean, excess, sigma)


def detect(
    rate: np.ndarray,
    counts: np.ndarray,
    exposure: np.ndarray,
    valid: np.ndarray,
    *,
    threshold: float = THRESHOLD,
    camera: Camera = PN,
) -> Table:
    """Find sources in a rate image.

    Parameters
    ----------
    rate : ndarray
        Image to search [count/s/pixel], ``[s*y, s*x]``; with or without background.
    counts, exposure, valid : ndarray
        The observation that it was made of: counts, live time [s] and live pixels, ``[y, x]``.
    threshold : float
        Least significance [sigma].
    camera : Camera
        For the size of a native pixel.

    Returns
    -------
    dict of ndarray
        ``x``, ``y`` [native pixel], ``rate`` [count/s under the matched filter: 5 % low for the
        PSF of a target of super-resolution, 60 % for that of the camera; rates to publish come from
        `xmm_jax.metrics.photometry`], ``significance``; most significant first.
    """
    upscale = rate.shape[0] // counts.shape[0]
    scale = upscale / camera.pixel_arcsec  # pixels of the image per arcsec
    maps = matched_filter(rate, counts, exposure, valid, camera=camera)
    area = _area(FINE_ARCSEC * scale)
    sharp = smooth(rate, maps.live, FINE_ARCSEC * scale)
    fine = np.where(maps.live, (sharp - maps.around) * maps.seconds * area, np.inf)
    # In the wings of a bright source the filter sees the source, and the image is lower than it.
    wanted = (maps.sigma >= threshold) & (sharp > maps.mean)
    x, y = _maxima(np.where(maps.live, fine, -np.inf), wanted)
    order = np.argsort(-fine[y, x], kind="stable")
    x, y = x[order], y[order]
    noise = _grain(maps, sharp, area, _area(KERNEL_ARCSEC * scale))
    kept = _parted(x, y, fine, maps.level * area, noise, REACH_ARCSEC * scale)
    x, y = x[kept], y[kept]
    sigma = maps.sigma[y, x]
    image, width = np.where(maps.live, rate - maps.around, 0.0), KERNEL_ARCSEC * scale
    found = (to_native(axis, upscale) for axis in _centre(x, y, image, width, noise))
    columns = (*found, maps.excess[y, x], sigma)
    order = np.argsort(-sigma, kind="stable")
    names = ("x", "y", "rate", "significance")
    return {name: column[order] for name, column in zip(names, columns, strict=True)}


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, sigma, truncate=3.0, mode="constant")


def _divide(total: np.ndarray, share: np.ndarray, live: np.ndarray) -> np.ndarray:
    return np.where(live, total / np.maximum(share, 1e-6), 0.0).astype(np.float32)


def _spread(image: np.ndarray, upscale: int) -> np.ndarray:
    return image.repeat(upscale, 0).repeat(upscale, 1)


def _bin(image: np.ndarray, upscale: int) -> np.ndarray:
    rows, columns = (size // upscale for size in image.shape)
    return image.reshape(rows, upscale, columns, upscale).sum(axis=(1, 3))


def _area(sigma: float) -> float:
    """Pixels that a Gaussian mean takes in: as many as give the same noise in a plain mean."""
    return max(4.0 * np.pi * sigma**2, 1.0)


def _maxima(image: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the wanted pixels that are the highest of 3 x 3; one of each plateau."""
    from scipy.ndimage import label, maximum_filter

    high = (image == maximum_filter(image, 3, mode="constant", cval=-np.inf)) & wanted
    marks = np.zeros(high.shape, np.int32)
    label(high, np.ones((3, 3)), output=marks)
    number, first = np.unique(marks, return_index=True)
    y, x = np.unravel_index(first[number > 0], image.shape)
    return x, y


def _grain(maps: Filtered, sharp: np.ndarray, area: float, coarse_area: float) -> float:
    """Noise of an image in units of the photon noise of its observation, as a ratio of variances.

    From the median square of the difference of the two smoothed images: 0 for one without noise, 1
    for many counts, 0.25 for the raw counts of 20 ks, most pixels of which hold none.
    """
    share = 1 / area + 1 / coarse_area - 4 / (area + coarse_area)
    difference = (sharp - maps.mean)[maps.live] * maps.seconds[maps.live]
    ratio = np.square(difference) / (maps.level[maps.live] * share + 1e-12)
    return float(np.median(ratio[::7]) / 0.455) if len(ratio) else 0.0  # of a chi square


def _parted(x, y, fine, level, noise, reach) -> np.ndarray:
    """Which of some maxima, brightest first, are parted from every brighter one that is kept."""
    from scipy.ndimage import map_coordinates
    from scipy.spatial import KDTree

    kept = np.ones(len(x), bool)
    pairs = KDTree(np.column_stack([x, y])).query_pairs(reach, output_type="ndarray")
    if not len(pairs):
        return kept
    first, second = np.sort(pairs, axis=1).T  # second is the fainter one
    step = np.linspace(0.0, 1.0, 2 * int(np.ceil(reach)))[:, None]
    line = [axis[first] * (1 - step) + axis[second] * step for axis in (y, x)]
    saddle = map_coordinates(fine, line, order=0).min(axis=0)  # dead pixels are infinite
    peak, below = fine[y[second], x[second]], level[y[second], x[second]]
    # 2 sqrt(n + 3/8) has unit variance (Anscombe 1948), whatever n is.
    high, low = (2.0 * np.sqrt(np.maximum(n, 0) + below + 0.375) for n in (peak, saddle))
    dip = (high - low >= DIP_SIGMA * np.sqrt(2.0 * noise)) & (peak - saddle > DIP_SHARE * peak)
    for place in np.lexsort((first, second)):
        if kept[first[place]] and not dip[place]:
            kept[second[place]] = False
    return kept


def _centre(x, y, image, sigma, noise) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian-windowed centroids (Bertin & Arnouts 1996); the window is narrow near neighbours.

    It is narrower still in an image without noise, which needs no averaging.
    """
    from scipy.spatial import KDTree

    if not len(x):
        return x.astype(float), y.astype(float)
    spots = np.column_stack([x, y]).astype(float)
    nearest = KDTree(spots).query(spots, k=2)[0][:, 1]
    window = np.clip(nearest / (4.0 if noise > QUIET else 8.0), sigma * 0.375, sigma)[:, None, None]
    half = int(np.ceil(3 * sigma))
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    padded = np.pad(image, half)
    cut = padded[y[:, None, None] + half + rows, x[:, None, None] + half + columns]
    dx, dy = np.zeros((2, len(x), 1, 1))
    for _ in range(10):
        weight = np.exp(-0.5 * ((columns - dx) ** 2 + (rows - dy) ** 2) / window**2) * cut
        total = weight.sum(axis=(1, 2), keepdims=True)
        good = total > 0
        total = np.where(good, total, 1.0)
        # The window halves the width of what it weighs, so a full step is twice the mean.
        shift_x, shift_y = (
            np.where(good, 2 * ((o - d) * weight).sum((1, 2), keepdims=True) / total, 0.0)
            for o, d in ((columns, dx), (rows, dy))
        )
        dx, dy = (np.clip(d + s, -sigma, sigma) for d, s in ((dx, shift_x), (dy, shift_y)))
    return x + dx[:, 0, 0], y + dy[:, 0, 0]

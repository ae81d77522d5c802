"""How close two sources may lie and still be told apart.

Fields full of pairs are simulated, searched with the common detector, and the share of pairs of
which both members are found is followed against their separation.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.instrument.camera import PN, Camera
from xmm_jax.metrics.detection import KERNEL_ARCSEC, Table
from xmm_jax.metrics.matching import match
from xmm_jax.metrics.planted import observe_points, places
from xmm_jax.simulator.optics import Optics

# At 0 there is one source, which is to be left whole.
SEPARATIONS_ARCSEC = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0)
RATIOS = (1.0, 2.0, 5.0)
RADIUS_ARCSEC = 2.0  # one pixel of the target of super-resolution
FLUX_SHARE = 0.3
ROOM_ARCSEC = 20.0  # around a pair without a dead pixel
TARGET_SIGMA_ARCSEC = 2.0  # of the PSF of the target of super-resolution: FWHM 4.7 arcsec


def draw_pairs(
    key: jax.Array,
    optics: Optics,
    *,
    counts: float,
    upscale: int,
    exposure_s: float = 20_000.0,
    camera: Camera = PN,
    **options,
) -> tuple[dict[str, np.ndarray], Table]:
    """One field with a pair on every place of a grid; separation, ratio and turn at random.

    Parameters
    ----------
    key : array
        Random key.
    optics : Optics
        From `xmm_jax.simulator.optics.build_optics`.
    counts : float
        Expected counts of the fainter member.
    upscale : int
        Pixels of the target per pixel of the input and side.
    exposure_s : float
        Of the input [s].
    camera : Camera
        The camera.
    **options
        Of `xmm_jax.metrics.planted.observe_points`.

    Returns
    -------
    sample, pairs : dict of ndarray, dict of ndarray
        Pair of images, and the columns ``separation`` [arcsec, of `SEPARATIONS_ARCSEC`], ``ratio``
        (of `RATIOS`), ``x1 y1 x2 y2`` [native pixel, the brighter first] and ``rate1``, ``rate2``
        [count/s] of the pairs with no dead pixel nearby. At separation 0 there is one source, with
        the counts of both.
    """
    place_key, turn_key, separation_key, ratio_key, sky_key = jax.random.split(key, 5)
    x, y = places(place_key, camera=camera)
    turn = jax.random.uniform(turn_key, x.shape, maxval=2.0 * np.pi)
    separation = jax.random.choice(separation_key, jnp.array(SEPARATIONS_ARCSEC), x.shape)
    ratio = jax.random.choice(ratio_key, jnp.array(RATIOS), x.shape)
    dx, dy = (
        0.5 * separation / camera.pixel_arcsec * side for side in (jnp.cos(turn), jnp.sin(turn))
    )
    faint = jnp.full(x.shape, counts / exposure_s)
    single = separation == 0
    bright, faint = faint * (ratio + single), jnp.where(single, 0.0, faint)
    both = [jnp.concatenate(pair) for pair in ((x + dx, x - dx), (y + dy, y - dy), (bright, faint))]
    sample = observe_points(
        sky_key, optics, *both, upscale=upscale, exposure_s=exposure_s, camera=camera, **options
    )
    sample, both, separation, ratio = jax.device_get((sample, both, separation, ratio))
    (x1, x2), (y1, y2), (rate1, rate2) = (np.split(one.astype(float), 2) for one in both)
    clear = _room((x1 + x2) / 2, (y1 + y2) / 2, sample["valid"][..., 0], camera) > ROOM_ARCSEC
    columns = {"separation": separation, "ratio": ratio, "x1": x1, "y1": y1, "x2": x2, "y2": y2}
    columns |= {"rate1": rate1, "rate2": rate2}
    return sample, {name: column[clear] for name, column in columns.items()}


def score(
    found: Table,
    pairs: Table,
    *,
    psf_sigma_arcsec: float = TARGET_SIGMA_ARCSEC,
    camera: Camera = PN,
) -> Table:
    """What was found of each pair of one field.

    Parameters
    ----------
    found : dict of ndarray
        From `xmm_jax.metrics.detection.detect`.
    pairs : dict of ndarray
        From `draw_pairs`.
    psf_sigma_arcsec : float
        Of the PSF of the image [arcsec], to part the rates of the two.
    camera : Camera
        The camera.

    Returns
    -------
    dict of ndarray
        ``separation``, ``ratio`` and ``both`` (each found within 2 arcsec), ``relative1``,
        ``relative2`` (found rate over true rate, NaN if not found), ``number`` of sources found
        within 12 arcsec of the middle.
    """
    from scipy.spatial import KDTree

    total = len(pairs["x1"])
    true = {
        name: np.concatenate([pairs[one + "1"], pairs[one + "2"]])
        for name, one in (("x", "x"), ("y", "y"), ("seen_rate", "rate"))
    }
    partner = match(found, true, radius=RADIUS_ARCSEC / camera.pixel_arcsec)
    partner[true["seen_rate"] == 0] = -1
    first, second = partner[:total], partner[total:]
    both = (first >= 0) & (second >= 0)
    rate = np.append(found["rate"], np.nan)  # a partner of -1 is nothing
    x, y = (np.append(found[name], np.nan) for name in ("x", "y"))
    apart = np.hypot(x[first] - x[second], y[first] - y[second]) * camera.pixel_arcsec
    # Each Gaussian shows under the matched filter on the other with the same share.
    leak = np.exp(-0.5 * apart**2 / (KERNEL_ARCSEC**2 + psf_sigma_arcsec**2))
    leak = np.where(both, leak, 0.0)
    one, two = (np.where(partner >= 0, rate[partner], 0.0) for partner in (first, second))
    parted = [(a - leak * b) / (1 - leak**2) for a, b in ((one, two), (two, one))]
    middle = np.column_stack([(pairs[name + "1"] + pairs[name + "2"]) / 2 for name in ("x", "y")])
    spots = np.column_stack([found["x"], found["y"]])
    near = KDTree(spots).query_ball_point(middle, 12.0 / camera.pixel_arcsec, return_length=True)
    relative = [
        np.where(where >= 0, flux / np.where(true_rate > 0, true_rate, 1.0), np.nan)
        for where, flux, true_rate in zip(
            (first, second), parted, (pairs["rate1"], pairs["rate2"]), strict=True
        )
    ]
    return {
        "separation": pairs["separation"],
        "ratio": pairs["ratio"],
        "both": both,
        "relative1": relative[0],
        "relative2": relative[1],
        "number": near,
    }


def curve(table: Table, ratio: float) -> dict[str, Any]:
    """Share of pairs told apart against their separation.

    Parameters
    ----------
    table : dict of ndarray
        From `score`, fields joined.
    ratio : float
        Ratio of the rates, of `RATIOS`.

    Returns
    -------
    dict
        ``separation`` [arcsec], ``both``: share with both found, ``resolved``: and both rates right
        within 30 % (in units of what single sources are found with), ``error`` of `resolved`
        (binomial), ``splits``: share of single sources that fell apart, ``d50_both``,
        ``d50_resolved`` [arcsec]: see `half_way`.
    """
    single = table["separation"] == 0
    gain = np.nanmedian(table["relative1"][single])
    right = [abs(table[name] / gain - 1) <= FLUX_SHARE for name in ("relative1", "relative2")]
    resolved = table["both"] & right[0] & right[1]
    separation = np.array(SEPARATIONS_ARCSEC[1:])
    rows = [(table["separation"] == one) & (table["ratio"] == ratio) for one in separation]
    shares = {
        name: np.array([flag[row].mean() if row.any() else np.nan for row in rows])
        for name, flag in (("both", table["both"]), ("resolved", resolved))
    }
    number = np.maximum([row.sum() for row in rows], 1)
    # One pair more and one less than seen, so that 0 of n has an error too (Agresti & Coull 1998).
    centre = (shares["resolved"] * number + 1) / (number + 2)
    return {
        "separation": separation,
        **shares,
        "error": np.sqrt(centre * (1 - centre) / (number + 2)),
        "splits": np.mean(table["number"][single] > 1) if single.any() else np.nan,
        "d50_both": half_way(separation, shares["both"]),
        "d50_resolved": half_way(separation, shares["resolved"]),
    }


def half_way(separation: np.ndarray, share: np.ndarray) -> float:
    """Separation at which half of the pairs are told apart.

    Parameters
    ----------
    separation, share : ndarray
        Rising separations [arcsec] and shares.

    Returns
    -------
    float
        Where the line through the shares last crosses one half [arcsec]; the lowest separation if
        it is always above, infinite if the last share is below.
    """
    low = np.flatnonzero(share < 0.5)
    if not len(low):
        return float(separation[0])
    last = low[-1]
    if last == len(share) - 1:
        return np.inf
    return float(np.interp(0.5, share[last : last + 2], separation[last : last + 2]))


def _room(x: np.ndarray, y: np.ndarray, live: np.ndarray, camera: Camera) -> np.ndarray:
    """Distance of positions from the nearest dead pixel [arcsec]."""
    from scipy.ndimage import distance_transform_edt

    room = np.asarray(distance_transform_edt(np.pad(live, 1))) * camera.pixel_arcsec
    return room[np.rint(y).astype(int) + 1, np.rint(x).astype(int) + 1]

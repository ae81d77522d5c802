"""Checks 1 to 8 of the simulator: each instrument function against tables and closed forms."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from rows import Row
from scipy import stats

from xmm_jax.instrument import camera, convolution, detector, psf, vignetting
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import observe
from xmm_jax.simulator.poisson import draw_counts
from xmm_jax.simulator.presets import PRESETS
from xmm_jax.simulator.sky import draw_extended

HALF_WIDTH = 15
draw_stamps = jax.jit(psf.stamps, static_argnums=(0, 3), static_argnames=("half_width",))


def check_mask(published) -> Iterator[Row]:
    """The mask from its numbers against the published files, a dict of upscale to array."""
    for upscale, theirs in published.items():
        ours = detector.mask(PN, upscale)
        overlap = (ours & theirs).sum() / (ours | theirs).sum()
        yield Row(1, f"mask, overlap with the published one at {upscale}x", ">= 0.998", overlap)
    yield Row(1, "mask, live pixels", (132_399, 150), detector.mask(PN).sum())


def check_psf() -> Iterator[Row]:
    """Widths of point sources as in the published files, stacked in bins of off-axis angle."""
    angles = (90, 270, 450, 630, 810, 1000)
    for angle, width in zip(angles, (8.7, 8.9, 8.9, 9.3, 10.2, 11.0), strict=True):
        fine, native = (half_energy_width(stamp_at(angle, 0.4, m)) for m in (2, 1))
        # The files were stacked on the photons' own means, which narrows them by 1.5 %.
        text = f'PSF, half-energy width at {angle}" ["], 2" pixels'
        yield Row(2, text, (width, 0.05 * width), 0.985 * 2 * fine)
        text = f'PSF, width at {angle}", 4" pixels over 2" pixels'
        yield Row(2, text, (2.0, 0.04), 4 * native / (2 * fine))
    for angle, ratio in zip(angles, (1.05, 1.09, 1.17, 1.32, 1.57, 1.81), strict=True):
        text = f'PSF, tangential over radial rms at {angle}"'
        yield Row(2, text, (ratio, 0.06 * ratio), elongation(stamp_at(angle, 0.0, 2)))
    total = [abs(stamp_at(angle, 0.4, m).sum() - 1) for angle in angles for m in (1, 2)]
    yield Row(2, "PSF, largest difference of the sum from 1", "<= 1e-5", max(total))


def check_low_rank() -> Iterator[Row]:
    """Blur by K transforms against one exact stamp per pixel of a textured crop of 128 x 128."""
    sky, expected, inside = textured_crop()
    for rank, limit in ((6, "< 0.015"), (12, "< 0.006")):
        relative = blur(rank)(sky)[inside] / expected[inside] - 1
        rms = float(np.sqrt(np.mean(relative**2)))
        yield Row(3, f"blur, rms error of rank {rank}", limit, rms)
    largest = 0.0
    for column, row in ((90, 330), (257, 233), (380, 150)):
        x, y = canvas_position(np.array([column]), np.array([row]))
        stamp = np.asarray(draw_stamps(PN, x, y, 1, half_width=HALF_WIDTH)[0])[0]
        sky = np.zeros((PN.canvas, PN.canvas), np.float32)
        sky[row, column] = 1.0
        found = blur(12)(sky)[row - 15 : row + 16, column - 15 : column + 16]
        largest = max(largest, float(np.abs(found - stamp).max() / stamp.max()))
    yield Row(3, "blur, point source by stamp and by rank 12, over peak", "< 0.02", largest)


def check_vignetting() -> Iterator[Row]:
    """The curve at its nodes, and a flat sky through the blur."""
    angle = jnp.array([0.0, 3.6, 6.0, 9.6, 12.0, 15.0])
    table = np.array([1.0, 0.8839, 0.7562, 0.5448, 0.4349, 0.3293])
    error = float(np.abs(vignetting.vignetting(PN, angle) - table).max())
    yield Row(4, "vignetting, largest error at six nodes", "<= 0.001", error)
    factor = vignetting.vignetting_map(PN, *camera.canvas_axes(PN, 1))
    image = blur(6)(np.ones((PN.canvas, PN.canvas), np.float32), factor)
    image, factor = (camera.crop_canvas(PN, one, 1) for one in (image, factor))
    error = np.abs(image / factor - 1)[detector.mask(PN)]
    yield Row(
        4, "flat sky over vignetting, 99.9th percentile of the error", "<= 0.01", percentile(error)
    )
    yield Row(4, "flat sky over vignetting, largest error (on axis)", None, float(error.max()))


def check_poisson() -> Iterator[Row]:
    """Mean, variance and histogram of a million draws at each of eight means."""
    means = (0.01, 0.1, 1.0, 3.0, 7.9, 8.1, 30.0, 500.0)
    worst, probability = 0.0, 1.0
    draw = jax.jit(draw_counts)
    for number, mean in enumerate(means):
        counts = np.asarray(draw(jax.random.key(number), jnp.full((1000, 1000), mean)))
        errors = np.sqrt(np.array([mean, mean + 2 * mean**2]) / 1e6)
        off = np.abs(np.array([counts.mean(), counts.var()]) - mean) / errors
        worst = max(worst, float(off.max()))
        low, high = stats.poisson.ppf([2e-5, 1 - 2e-5], mean).astype(int)
        found = np.bincount(np.clip(counts.ravel(), low, high), minlength=high + 1)[low:]
        law = stats.poisson.pmf(np.arange(low, high + 1), mean)
        law[0], law[-1] = stats.poisson.cdf(low, mean), stats.poisson.sf(high - 1, mean)
        probability = min(probability, float(stats.chisquare(found, 1e6 * law).pvalue))
    yield Row(5, "Poisson, worst mean or variance of eight [sigma]", "<= 4", worst)
    yield Row(5, "Poisson, smallest p of eight histograms", "> 0.001", probability)


def check_brightness() -> Iterator[Row]:
    """The box about the centre of drawn sources against the formula of the published files."""
    x, y = camera.canvas_axes(PN, 2)
    factor = vignetting.vignetting_map(PN, x, y)
    for name in ("reference", "physical"):
        draw = jax.jit(
            functools.partial(draw_extended, camera=PN, preset=PRESETS[name], vignetting=factor)
        )
        worst = 0.0
        for key in jax.random.split(jax.random.key(1), 12):
            rate, drawn = draw(key)
            half = 72 * float(drawn.zoom)
            rows = np.flatnonzero(np.abs(y - float(drawn.y)) * 4 <= half)
            columns = np.flatnonzero(np.abs(x - float(drawn.x)) * 4 <= half)
            cut = np.ix_(rows, columns)
            mean = 4 * np.mean(np.asarray(rate, float)[cut] * factor[cut])
            expected = (1.14e-5 + 1.472e-5 * float(drawn.sigma)) / float(drawn.zoom)
            worst = max(worst, abs(mean / expected - 1))
        yield Row(6, f"brightness of the central box, worst of 12, {name}", "<= 0.03", worst)


def check_determinism() -> Iterator[Row]:
    """One key alone, and in batches of 2 and 3."""
    options = {"preset": "reference", "upscale": 2, "target_background": False}
    optics = observe.build_optics("reference", upscale=2)
    one = functools.partial(observe.draw_pair, optics=optics, **options)
    keys = jax.random.split(jax.random.key(9), 3)
    alone, twice = (jax.jit(one)(keys[1]) for _ in range(2))
    batch = jax.jit(jax.vmap(one))
    images = {n: {k: v[1] for k, v in batch(keys[:n]).items()} for n in (2, 3)}

    def rate_error(pair, other):
        return float(jnp.abs(pair["target"] - other["target"]).max() / other["target"].max())

    def moved(pair, other):
        return int((pair["counts"] != other["counts"]).sum())

    yield Row(7, "same key twice, pixels that differ", "<= 0", moved(twice, alone))
    yield Row(
        7,
        "alone or in a batch, largest rate error over peak",
        "<= 1e-5",
        rate_error(images[2], alone),
    )
    yield Row(7, "alone or in a batch, pixels whose counts differ", None, moved(images[2], alone))
    yield Row(
        7, "batches of 2 and 3, pixels whose counts differ", None, moved(images[2], images[3])
    )


def check_light() -> Iterator[Row]:
    """Light before and after the blur, on a canvas that holds all of it."""
    x, y = camera.canvas_axes(PN, 2)
    sky = np.exp(-((x - 300)[None, :] ** 2 + (y - 150)[:, None] ** 2) / (2 * 12.0**2))
    factor = vignetting.vignetting_map(PN, x, y)
    ratio = blur(6, 2)(np.float32(sky), factor).sum() / (sky * factor).sum()
    yield Row(8, "light after over before the blur", (1.0, 0.005), float(ratio))
    # The canvas is periodic: what lies on its last column, outside the frame, has its far wings
    # on the other side. The kernels of `physical` are the widest.
    physical = PRESETS["physical"]
    basis = convolution.low_rank_basis(
        PN,
        rank=physical.rank,
        half_width=physical.kernel_half_width,
        core_scale=physical.core_scale,
    )
    maps = convolution.coefficient_maps(PN, basis, 1)
    edge = np.zeros((PN.canvas, PN.canvas), np.float32)
    edge[PN.canvas // 2, -1] = 1.0
    image = convolution.convolve(edge, maps, convolution.kernel_transforms(basis, PN.canvas))
    share = float(camera.crop_canvas(PN, image, 1)[:, : PN.shape[1] // 2].sum())
    yield Row(8, "light of the last column of the canvas that wraps into the frame", None, share)


def stamp_at(angle_arcsec: float, azimuth: float, upscale: int) -> np.ndarray:
    """Image of a source on a pixel centre nearest to an off-axis angle."""
    x, y = (
        axis + angle_arcsec / 4 * turn(azimuth)
        for axis, turn in zip(PN.axis, (np.cos, np.sin), strict=True)
    )
    x, y = (camera.to_native(np.round(camera.from_native(p, upscale)), upscale) for p in (x, y))
    place = (jnp.array([x], jnp.float32), jnp.array([y], jnp.float32))
    return np.asarray(draw_stamps(PN, *place, upscale, half_width=HALF_WIDTH)[0][0], float)


def spread(stamp: np.ndarray, parts: int = 9):
    """Radius [pixel], offsets and weight of light spread evenly over each pixel."""
    index = np.arange(-HALF_WIDTH, HALF_WIDTH + 1)
    axis = (index[:, None] + ((np.arange(parts) + 0.5) / parts - 0.5)[None, :]).ravel()
    weight = stamp.repeat(parts, 0).repeat(parts, 1) / parts**2
    return np.hypot(axis[:, None], axis[None, :]), axis, weight


def half_energy_width(stamp: np.ndarray) -> float:
    """Diameter of the circle that holds half of the light [pixel]."""
    radius, _, weight = spread(stamp)
    order = np.argsort(radius, axis=None)
    enclosed = np.cumsum(weight.ravel()[order]) / weight.sum()
    return 2 * float(radius.ravel()[order][np.searchsorted(enclosed, 0.5)])


def elongation(stamp: np.ndarray) -> float:
    """Tangential over radial rms within 15 arcsec of a source whose radial direction is x."""
    radius, axis, weight = spread(stamp)
    weight = np.where(radius < 7.5, weight, 0.0)
    squares = [np.sum(weight * one**2) for one in (axis[:, None], axis[None, :])]
    return float(np.sqrt(squares[0] / squares[1]))


@functools.cache
def tables(rank: int, upscale: int):
    """Coefficient maps and transforms of the published PSF."""
    basis = convolution.low_rank_basis(PN, rank=rank, half_width=HALF_WIDTH)
    maps = convolution.coefficient_maps(PN, basis, upscale)
    return maps, convolution.kernel_transforms(basis, upscale * PN.canvas)


def blur(rank: int, upscale: int = 1):
    """Blur of a canvas, as a function (sky, factor) -> array."""
    maps, transforms = tables(rank, upscale)
    convolve = jax.jit(convolution.convolve)
    return lambda sky, factor=1.0: np.asarray(convolve(sky, maps * np.float32(factor), transforms))


def canvas_position(column, row):
    """Native position of pixels of the canvas."""
    x, y = camera.canvas_axes(PN, 1)
    return jnp.float32(x[column]), jnp.float32(y[row])


def textured_crop():
    """A lognormal 128 x 128 crop off axis, its exact image, and the part that has no edge in it."""
    rng = np.random.default_rng(3)
    wave = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None, :])
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(128, 128))) * (wave + 1 / 64) ** -1.5)
    crop = np.exp(0.8 * field / field.std())
    low_x, low_y = 30, 60
    columns, rows = np.meshgrid(np.arange(128) + low_x, np.arange(128) + low_y)

    @jax.jit
    def add_row(image, args):
        x, y, light, column, row = args
        stamp, *_ = psf.stamps(PN, x, y, 1, half_width=HALF_WIDTH)
        return psf.add_stamps(image, stamp * light[:, None, None], column, row), None

    args = (*canvas_position(columns, rows), jnp.float32(crop), columns, rows)
    image, _ = jax.lax.scan(add_row, jnp.zeros((PN.canvas, PN.canvas)), args)
    sky = np.zeros((PN.canvas, PN.canvas), np.float32)
    sky[low_y : low_y + 128, low_x : low_x + 128] = crop
    inside = np.s_[low_y + 15 : low_y + 113, low_x + 15 : low_x + 113]
    return sky, np.asarray(image), inside


def percentile(values: np.ndarray) -> float:
    """99.9th percentile."""
    return float(np.percentile(values, 99.9))

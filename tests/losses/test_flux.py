"""Losses on fluxes: brute force in numpy, finite differences, false sources, edges, filling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xmm_jax.errors import InputError
from xmm_jax.losses.flux import (
    FLUX_LOSSES,
    aperture_flux,
    aperture_flux_both,
    combine_flux,
    mean_flux,
    median_flux,
)
from xmm_jax.losses.sources import Catalogue, apertures, find_sources

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 24, 31
T = RNG.lognormal(0, 1, (2, HEIGHT, WIDTH, 1)).astype(np.float32)
P = (T + 0.3 * RNG.standard_normal(T.shape)).astype(np.float32)
EDGES = [(0, 0), (WIDTH - 1, HEIGHT - 1), (-1.7, 5.2), (WIDTH + 2.4, 3.0), (-400.0, 1e5)]
PLACES = [*EDGES, (10.5, 7.5), (3.49, 20.51), *RNG.uniform(0, 23, (5, 2))]
# The second image has no source at its places 3 to 8.
WEIGHT = np.ones((2, len(PLACES)), np.float32)
WEIGHT[1, 3:9] = 0
X, Y = (np.float32([[place[i] for place in PLACES]] * 2) for i in (0, 1))
SOURCES = Catalogue(X, Y, WEIGHT)
EMPTY = Catalogue(X, Y, np.zeros_like(X))

fluxes = jax.jit(apertures, static_argnames="radius_pixel")
flux_loss = jax.jit(aperture_flux, static_argnames="radius_pixel")
both_loss = jax.jit(aperture_flux_both, static_argnames="radius_pixel")
find = jax.jit(find_sources, static_argnames=("most", "radius"))


def brute(image, x, y, radius):
    """Mean in a soft circle of an image with zeros around, one pixel after the other."""
    total = weights = 0.0
    for row in range(int(np.floor(y - radius - 2)), int(y + radius + 3)):
        for column in range(int(np.floor(x - radius - 2)), int(x + radius + 3)):
            weight = min(max(radius + 0.5 - np.hypot(column - x, row - y), 0), 1)
            weights += weight
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += weight * float(image[row, column])
    return total / weights


def brute_all(images, catalogue, radius):
    found = np.zeros(catalogue.x.shape)
    for b, n in np.argwhere(catalogue.weight):
        found[b, n] = brute(images[b, ..., 0], catalogue.x[b, n], catalogue.y[b, n], radius)
    return found


def brute_loss(catalogue, radius):
    apart = np.abs(brute_all(P, catalogue, radius) - brute_all(T, catalogue, radius))
    return (catalogue.weight * apart).sum(1) / np.maximum(catalogue.weight.sum(1), 1)


def stars(*places, side=40, peak=10.0, sigma=2.0):
    """One image with Gaussian stars at (x, y) [mJy/beam]."""
    rows, columns = np.mgrid[:side, :side]
    image = sum(
        (peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))) for x, y in places
    )
    return np.float32(image)[None, ..., None]


def listed(*places, most=4):
    """A catalogue of one image, filled with what must not be read."""
    x, y = (
        np.float32([[*(place[i] for place in places), *[np.nan] * (most - len(places))]])
        for i in (0, 1)
    )
    return Catalogue(x, y, np.float32([[1] * len(places) + [0] * (most - len(places))]))


def test_mean_and_median():
    apart = P.astype(np.float64).mean((1, 2, 3)) - T.astype(np.float64).mean((1, 2, 3))
    np.testing.assert_allclose(mean_flux(P, T), np.abs(apart), rtol=1e-3)
    for height in (24, 23):  # an even and an odd number of pixels
        p, t = P[:, :height], T[:, :height]
        expected = np.abs(np.median(p, (1, 2, 3)) - np.median(t, (1, 2, 3)))
        np.testing.assert_allclose(median_flux(p, t), expected, rtol=1e-6)


@pytest.mark.parametrize("radius", [0.5, 2.5, 4.0])
def test_apertures_are_those_of_brute_force(radius):
    found = fluxes(T, SOURCES, radius_pixel=radius)
    np.testing.assert_allclose(found, brute_all(T, SOURCES, radius), rtol=2e-5, atol=1e-6)
    assert not np.any(found[:, 4])  # far outside
    assert np.all(found[0, :2] > 0)  # in corners


def test_apertures_near_photutils():
    photutils = pytest.importorskip("photutils.aperture")
    places = [(20.3, 17.8), (11.0, 25.5)]
    image = stars(*places)
    circle = photutils.CircularAperture(places, 4.0)
    sums = np.array([circle[i].do_photometry(image[0, ..., 0])[0][0] for i in (0, 1)])
    area = np.pi * (4.0**2 + 1 / 12)  # of the soft circle, as `apertures` says
    found = area * np.asarray(apertures(image, listed(*places)))[0, :2]
    np.testing.assert_allclose(found, sums, rtol=0.02)


def test_apertures_are_continuous_in_the_position():
    x = np.linspace(9.3, 10.7, 141, dtype=np.float32)[None].repeat(2, 0)
    found = fluxes(T, Catalogue(x, np.full_like(x, 7.5), np.ones_like(x)), radius_pixel=3.0)
    steps = np.abs(np.diff(found, axis=1))
    assert steps.max() < 0.01 * T.max()


def test_aperture_losses_are_those_of_brute_force():
    other = Catalogue(X[:, ::-1] / 2, Y, np.roll(WEIGHT, 2, axis=1))
    one, two = brute_loss(SOURCES, 3.0), brute_loss(other, 3.0)
    np.testing.assert_allclose(flux_loss(P, T, SOURCES, radius_pixel=3.0), one, rtol=1e-4)
    found = both_loss(P, T, SOURCES, other, radius_pixel=3.0)
    np.testing.assert_allclose(found, one + two, rtol=1e-4)
    assert not np.any(flux_loss(P, T, EMPTY))
    np.testing.assert_allclose(both_loss(P, T, SOURCES, EMPTY, radius_pixel=3.0), one, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(FLUX_LOSSES))
def test_slopes_are_those_of_finite_differences(name):
    # Pixels apart by 0.05 and above the target: steps of 0.01 change no sign, order or source.
    draw = np.random.default_rng(3)
    prediction = 1 + 0.05 * draw.permuted(np.arange(2 * HEIGHT * WIDTH).reshape(2, -1), axis=1)
    prediction = prediction.reshape(T.shape).astype(np.float32)
    target = np.minimum(T, 10) - 12
    loss = combine_flux({name: 1.0}, radius_pixel=3.0)

    def total(image):
        return loss(image, target, SOURCES, both=jnp.ones(2), threshold=2.02).sum()

    total, slope = jax.jit(total), np.asarray(jax.jit(jax.grad(total))(prediction))
    assert np.isfinite(slope).all()
    assert np.any(slope)
    for way in (slope, draw.choice([0.3, 1.0], slope.shape) * slope):
        step = np.float32(0.01 / np.abs(way).max()) * way
        found = float(total(prediction + step)) - float(total(prediction - step))
        np.testing.assert_allclose(found, 2 * (step * slope).sum(), rtol=0.01)


def test_filling_has_no_influence():
    x, y = X.copy(), Y.copy()
    x[WEIGHT == 0], y[WEIGHT == 0] = np.nan, np.inf
    wrong = Catalogue(x, y, WEIGHT)
    np.testing.assert_array_equal(fluxes(T, wrong), fluxes(T, SOURCES))
    slope = jax.jit(jax.grad(lambda p, c: aperture_flux(p, T, c).sum()))
    np.testing.assert_array_equal(slope(P, wrong), slope(P, SOURCES))
    longer = Catalogue(*(np.pad(part, ((0, 0), (0, 7))) for part in SOURCES))
    np.testing.assert_allclose(flux_loss(P, T, longer), flux_loss(P, T, SOURCES), rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(len(PLACES))))
def test_the_order_of_sources_does_not_matter(order):
    turned = Catalogue(*(part[:, list(order)] for part in SOURCES))
    np.testing.assert_array_equal(fluxes(T, turned), np.asarray(fluxes(T, SOURCES))[:, list(order)])
    np.testing.assert_allclose(flux_loss(P, T, turned), flux_loss(P, T, SOURCES), rtol=1e-5)


def test_false_sources_cost_in_real_images_only():
    true, false = (10, 12), (30, 28)
    target, good, bad = stars(true), stars(true, peak=9.0), stars(true, false, peak=9.0)
    catalogue = listed(true)
    loss = jax.jit(combine_flux({"aperture": 1.0}, most=4))
    real, real_good = (float(loss(p, target, catalogue, both=np.ones(1))[0]) for p in (bad, good))
    made, made_good = (float(loss(p, target, catalogue, both=np.zeros(1))[0]) for p in (bad, good))
    np.testing.assert_allclose(made, made_good, rtol=1e-5)
    # By hand: 10 % of the flux f of the true source is missing, 90 % of one too much is found.
    f = brute(target[0, ..., 0], *true, 4.0)
    np.testing.assert_allclose(made, 0.1 * f, rtol=1e-3)
    np.testing.assert_allclose(real_good, 0.2 * f, rtol=1e-3)
    np.testing.assert_allclose(real, 0.1 * f + (0.1 + 0.9) / 2 * f, rtol=1e-3)
    # The slope pulls the false source down in real images and does not see it in others.
    slope = jax.jit(jax.grad(lambda p, both: loss(p, target, catalogue, both=both).sum()))
    assert slope(bad, np.ones(1))[0, 28, 30, 0] > 0
    assert slope(bad, np.zeros(1))[0, 28, 30, 0] == 0


def brute_sources(plane, threshold, radius):
    """Places above the threshold that are the greatest of their square, by scipy, brightest first.

    For images without equal pixels.
    """
    greatest = ndimage.maximum_filter(plane, 2 * radius + 1, mode="constant", cval=-np.inf)
    rows, columns = np.nonzero((plane == greatest) & (plane > threshold))
    order = np.argsort(-plane[rows, columns])
    return np.stack([columns[order], rows[order]], 1)


@pytest.mark.parametrize(("threshold", "most", "radius"), [(2.0, 40, 2), (2.0, 5, 1), (9.0, 30, 4)])
def test_found_sources_are_those_of_scipy(threshold, most, radius):
    found = find(T, threshold=threshold, most=most, radius=radius)
    for b, plane in enumerate(T[..., 0]):
        expected = brute_sources(plane, threshold, radius)[:most]
        count = len(expected)
        places = np.stack([found.x[b], found.y[b]], 1)
        np.testing.assert_array_equal(places[:count], expected)
        np.testing.assert_array_equal(found.weight[b], np.arange(most) < count)
        assert not np.any(places[count:])


def test_sources_at_edges_and_saturated_ones():
    image = np.zeros((3, 20, 20, 1), np.float32)
    image[0, 0, 0], image[0, 19, 7], image[0, 10, 19] = 7, 6, 5
    image[1, 5:8, 6:9] = 10.0  # one flat source, which is one, at its last pixel
    found = find(image, threshold=4.0, most=5, radius=3)
    np.testing.assert_array_equal(found.weight.sum(1), [3, 1, 0])
    np.testing.assert_array_equal(found.x[0, :3], [0, 7, 19])
    np.testing.assert_array_equal(found.y[0, :3], [0, 19, 10])
    assert (found.x[1, 0], found.y[1, 0]) == (8, 7)
    assert not find(image, threshold=10.0, most=5, radius=3).weight.any()  # exclusive


def test_finding_passes_no_slope():
    slope = jax.grad(lambda image: sum(part.sum() for part in find_sources(image, threshold=2.0)))
    assert not np.any(jax.jit(slope)(T))


def test_sum_of_all():
    weights = {"l1": 2.0, "mean_flux": 0.5, "median_flux": 1.5, "aperture": 3.0}
    assert set(weights) == set(FLUX_LOSSES)
    loss = combine_flux(weights, radius_pixel=3.0, most=12, separation=2)
    # The first image is simulated, the second real.
    both = np.array([False, True])
    found = jax.jit(loss)(P, T, SOURCES, both=both, threshold=3.0)
    generated = Catalogue(*map(np.asarray, find(P, threshold=3.0, most=12, radius=2)))
    assert generated.weight.sum() > 12
    apart = np.abs(P.astype(np.float64) - T).mean((1, 2, 3))
    expected = 2 * apart + 0.5 * np.asarray(mean_flux(P, T)) + 1.5 * np.asarray(median_flux(P, T))
    expected += 3 * (brute_loss(SOURCES, 3.0) + both * brute_loss(generated, 3.0))
    assert found.shape == (2,)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(FLUX_LOSSES))
def test_each_is_0_at_the_target(name):
    found = jax.jit(combine_flux({name: 1.0}))(T, T, SOURCES, both=np.ones(2))
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "no loss is named; choose from l1, mean_flux, median_flux, aperture"),
        ({"l3": 1.0}, "'l3' is unknown; choose from l1, mean_flux, median_flux, aperture"),
        ({"l1": 0.0}, "must be positive"),
        ({"l1": float("nan")}, "must be positive"),
    ],
)
def test_what_cannot_be_is_refused(weights, message):
    with pytest.raises(InputError, match=message):
        combine_flux(weights)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"at least 0\.5 pixels, got 0\.4"):
        apertures(T, SOURCES, radius_pixel=0.4)
    for wrong in ({"most": 0}, {"most": HEIGHT * WIDTH + 1}, {"radius": 0}):
        with pytest.raises(InputError, match="most must be 1 to 744"):
            find_sources(T, **wrong)

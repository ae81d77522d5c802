"""Features taken out of images of which the rest is known."""

import numpy as np
import pytest

from xmm_jax.instrument.camera import from_native
from xmm_jax.removal import profiles, take_out

SHAPE = (411, 403)


def place(top, left, stamp):
    return slice(top, top + stamp.shape[0]), slice(left, left + stamp.shape[1])


def sky(upscale, sources):
    """A sloping plane and point sources (x, y, rate) on it."""
    rows, columns = np.indices([upscale * side for side in SHAPE])
    plane = (2.0 + 0.01 * rows / upscale - 0.02 * (columns / upscale - 200) / 5) / upscale**2
    x, y, _ = np.array(sources).T
    found = {"x": x, "y": y}
    stamps, corners, own = profiles(found, upscale)
    image = plane.copy()
    for (_, _, rate), stamp, (top, left) in zip(sources, stamps, corners, strict=True):
        image[place(top, left, stamp)] += rate * stamp
    return plane, image, stamps, corners, own


@pytest.mark.parametrize("upscale", [1, 2])
def test_point_source_leaves_the_plane_it_stood_on(upscale):
    plane, image, stamps, corners, own = sky(upscale, [(150.3, 210.7, 500.0)])
    live = np.ones(image.shape, bool)
    window, patch, removed = take_out(image, live, stamps[0], corners[0], own[0])
    assert removed == pytest.approx(500.0, rel=1e-3)
    np.testing.assert_allclose(patch, plane[window], rtol=0.01)


def test_neighbour_stays_and_dead_columns_say_nothing():
    sources = [(150.0, 210.0, 900.0), (155.0, 210.0, 300.0)]
    plane, image, stamps, corners, own = sky(1, sources)
    live = np.ones(image.shape, bool)
    live[:, 148] = False
    image[~live] = 0.0
    window, patch, removed = take_out(image, live, stamps[0], corners[0], own[0])
    assert removed == pytest.approx(900.0, rel=0.1)
    rest = plane.copy()
    rest[place(*corners[1], stamps[1])] += 300.0 * stamps[1]
    for x in (150, 155):
        apart = np.hypot(*(np.indices(plane.shape) - np.array([210, x])[:, None, None]))
        near = (apart <= 2.5) & live
        # Of some 500 counts of the source there.
        assert patch[near[window]].sum() == pytest.approx(rest[near].sum(), abs=50)
    assert not patch[~live[window]].any()


def test_dip_is_no_feature_and_edges_do_no_harm():
    _, image, stamps, corners, own = sky(1, [(150.0, 210.0, -50.0)])
    image = np.maximum(image, 0.0)
    live = np.ones(image.shape, bool)
    window, patch, removed = take_out(image, live, stamps[0], corners[0], own[0])
    assert removed == 0.0
    np.testing.assert_array_equal(patch, image[window])
    found = {"x": np.array([1.0]), "y": np.array([409.0])}
    stamps, corners, own = profiles(found, 1)
    flat = np.full(SHAPE, 3.0)
    window, patch, removed = take_out(flat, live, stamps[0], corners[0], own[0])
    assert removed == pytest.approx(0.0, abs=1e-3)
    np.testing.assert_allclose(patch, 3.0, rtol=1e-4)
    assert own[0].sum() > 100
    assert from_native(0, 2) == 0.5  # what the corners of finer grids rest on


def test_own_pixels_are_shared_among_neighbours():
    found = {"x": np.array([100.0, 104.0]), "y": np.array([100.0, 100.0])}
    _, corners, own = profiles(found, 1)
    taken = np.zeros(SHAPE, int)
    for (top, left), one in zip(corners, own, strict=True):
        taken[place(top, left, one)] += one
    assert taken.max() == 1
    assert taken[100, 100] == taken[100, 104] == 1

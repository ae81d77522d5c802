"""Parts of an image: cover it once, and leave no seam."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.models import apply, build, init
from xmm_jax.models.stretch import Scale
from xmm_jax.step import respond
from xmm_jax.tiling import STEP, by_parts, spans


@given(st.integers(1, 5000), st.integers(1, 900), st.integers(1, 90))
def test_parts_cover_an_axis_once(length, side, reach):
    found = spans(length, side, reach)
    assert [one.keep for one in found] == [0, *(one.until for one in found[:-1])]
    assert found[-1].until == length
    assert len({one.last - one.first for one in found}) == 1
    for one in found:
        assert 0 <= one.first <= one.keep < one.until <= one.last <= length
        assert one.first % STEP == 0
        # What lies beyond the window is farther away than the network sees.
        assert one.first == 0 or one.keep - one.first >= reach
        assert one.last == length or one.last - one.until >= reach


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize("unshuffle", [1, 2])
def test_a_network_sees_no_farther_than_its_reach(upscale, unshuffle):
    network = build(size="tiny", upscale=upscale, unshuffle=unshuffle, outputs=2)
    params = init(jax.random.key(0), network, 2)
    side = 2 * network.reach + 8
    inputs = jax.random.uniform(jax.random.key(1), (1, side, side, 2))
    middle = side // 2
    changed = inputs.at[0, middle, middle].add(10.0)
    moved = jnp.abs(apply(network, params, changed) - apply(network, params, inputs))[0].max(-1)
    rows = np.flatnonzero(np.asarray(moved).max(axis=1))
    assert len(rows)
    apart = np.abs(rows / upscale - middle)
    assert apart.max() <= network.reach
    assert apart.max() >= network.reach / 3  # not a bound without meaning


@pytest.mark.parametrize(("height", "width"), [(157, 241), (160, 130)])
@pytest.mark.parametrize("upscale", [1, 2])
def test_parts_equal_the_whole(height, width, upscale):
    """Also where the four mirror images of odd sizes are laid on the squares of the trunk."""
    network = build(size="tiny", upscale=upscale, unshuffle=2)
    params = init(jax.random.key(0), network, 2)
    scale = Scale("counts", 1.0, 1.0, 2, upscale)
    rng = np.random.default_rng(0)
    images = {
        "counts": rng.poisson(2.0, (2, height, width)).astype(np.int32),
        "exposure": rng.uniform(1e4, 2e4, (2, height, width)).astype(np.float32),
        "valid": rng.random((2, height, width)) > 0.1,
    }
    run = jax.jit(functools.partial(respond, network, scale, params, symmetric=True))

    def answer(images):
        return np.asarray(run({name: image[..., None] for name, image in images.items()}))

    parts = by_parts(answer, images, side=40, reach=network.reach, upscale=upscale)
    assert len(spans(width, 40, network.reach)) > 1
    np.testing.assert_allclose(parts, answer(images), atol=1e-5)

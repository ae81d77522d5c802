"""The convolution of the layers: values and slopes are those of XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from xmm_jax.models.convolution import AXES, convolve, slope_of_weights


def xla(images, weights):
    return lax.conv_general_dilated(images, weights, (1, 1), "SAME", dimension_numbers=AXES)


def case(batch, height, width, channels, filters, side=3, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = (batch, height, width, channels), (side, side, channels, filters)
    shapes += ((batch, height, width, filters),)
    return [jax.random.normal(k, s).astype(dtype) for k, s in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(
    "shape",
    [
        (1, 24, 24, 5, 3),  # copies of the slope
        (2, 24, 24, 3, 5),  # of the image
        (1, 64, 64, 4, 4),  # four strips
        (3, 41, 37, 2, 6),  # the last strip is not full
        (1, 3, 1500, 2, 2),  # a row is longer than a strip should be
        (1, 1, 1, 2, 2),
        (2, 20, 30, 3, 4, 5),
        (2, 20, 30, 3, 4, 1),
    ],
)
def test_slopes_are_those_of_xla(shape):
    images, weights, slope = case(*shape)
    value, back = jax.vjp(convolve, images, weights)
    expected, back_expected = jax.vjp(xla, images, weights)
    np.testing.assert_array_equal(value, expected)
    for found, wanted in zip(back(slope), back_expected(slope), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())


def test_half_precision_is_summed_in_single():
    images, weights, slope = case(1, 64, 64, 4, 4, dtype=jnp.bfloat16)
    found = jax.vjp(convolve, images, weights)[1](slope)[1]
    assert found.dtype == jnp.bfloat16
    exact = slope_of_weights(images.astype(jnp.float32), slope.astype(jnp.float32))
    np.testing.assert_allclose(found.astype(jnp.float32), exact, atol=2**-8 * np.abs(exact).max())


def test_accelerators_keep_their_own_way():
    images, weights, slope = case(1, 64, 64, 4, 4)
    traced = jax.jit(lambda *given: jax.vjp(convolve, *given[:2])[1](given[2])).trace(
        images, weights, slope
    )
    loops = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.while")
        for platform in ("cpu", "cuda", "tpu")
    }
    assert loops == {"cpu": 1, "cuda": 0, "tpu": 0}


def test_what_it_does_not_know_is_refused():
    layer = nn.Conv(2, (3, 3), strides=2, conv_general_dilated=convolve)
    with pytest.raises(ValueError, match="strides"):
        layer.init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    with pytest.raises(ValueError, match="weights"):
        convolve(jnp.ones((1, 8, 8, 1)), jnp.ones((2, 2, 1, 1)))

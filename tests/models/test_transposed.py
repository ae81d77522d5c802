import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from xmm_jax.models.transposed import Doubled, doubled


@pytest.mark.parametrize(("side", "before"), [(2, 0), (4, 1)])
def test_every_pixel_adds_the_kernel_to_its_place(side, before):
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(1, 3, 5, 2)), rng.normal(size=(side, side, 3, 2))
    wanted = np.zeros((1, 6 + side, 10 + side, 3))
    for y in range(3):
        for x in range(5):
            wanted[0, 2 * y : 2 * y + side, 2 * x : 2 * x + side] += kernel @ image[0, y, x]
    wanted = wanted[:, before : before + 6, before : before + 10]
    got = doubled(jnp.asarray(image, jnp.float32), jnp.asarray(kernel, jnp.float32))
    assert np.allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize(("side", "padding"), [(2, "VALID"), (4, "SAME")])
@pytest.mark.parametrize("use_bias", [True, False])
def test_it_is_the_layer_of_flax(side, padding, use_bias):
    start = nn.initializers.normal(1.0)
    ours = Doubled(4, side=side, use_bias=use_bias, kernel_init=start)
    theirs = nn.ConvTranspose(
        4,
        (side, side),
        strides=(2, 2),
        padding=padding,
        use_bias=use_bias,
        kernel_init=start,
        transpose_kernel=True,
    )
    image = jax.random.normal(jax.random.key(1), (2, 6, 4, 3))
    params = ours.init(jax.random.key(0), image)
    other = theirs.init(jax.random.key(0), image)
    assert jax.tree.all(jax.tree.map(np.array_equal, params, other))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # the bias too
    weight = jax.random.normal(jax.random.key(2), (2, 12, 8, 4))

    def value(layer):
        return lambda params, image: jnp.sum(weight * layer.apply(params, image))

    for layer in (ours, theirs):
        assert layer.apply(params, image).shape == (2, 12, 8, 4)
    slopes = [jax.grad(value(layer), (0, 1))(params, image) for layer in (ours, theirs)]
    assert np.allclose(ours.apply(params, image), theirs.apply(params, image), atol=1e-4)
    for one, two in zip(*map(jax.tree.leaves, slopes), strict=True):
        assert np.allclose(one, two, atol=1e-3)

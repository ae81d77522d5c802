"""Perceptual losses against convolutions of scipy and layers put together by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from xmm_jax.errors import InputError
from xmm_jax.losses.perceptual import (
    BRIGHT,
    RANDOM_WIDTHS,
    perceptual,
    random_extractor,
    stretch,
    vgg_extractor,
)

RNG = np.random.default_rng(0)
T = RNG.lognormal(-3, 2, (2, 17, 16, 1)).astype(np.float32)
P = (T + 0.05 * RNG.standard_normal(T.shape)).astype(np.float32)


def conv(x, kernel):
    """[y, x, in] with [3, 3, in, out], zeros beyond the edges, then ReLU-free."""
    return np.stack(
        [
            sum(correlate2d(x[..., i], kernel[..., i, o], "same") for i in range(x.shape[-1]))
            for o in range(kernel.shape[-1])
        ],
        axis=-1,
    )


def squares(x):
    """The four pixels of each square of 2 x 2, an odd last row or column left out."""
    y, w = (side // 2 * 2 for side in x.shape[:2])
    return np.stack([x[a:y:2, b:w:2] for a in (0, 1) for b in (0, 1)])


def stretched(image):
    return np.arcsinh(image.astype(np.float64) / 0.01) / np.arcsinh(1e4)


def test_stretch():
    np.testing.assert_allclose(stretch(T), stretched(T), rtol=1e-5)
    np.testing.assert_allclose(stretch(jnp.asarray([0.0, BRIGHT, -BRIGHT])), [0, 1, -1], rtol=1e-6)


def test_random_features_are_convolutions():
    key = jax.random.key(3)
    features = jax.jit(random_extractor(key))(T)
    inputs = (1, *RANDOM_WIDTHS[:-1])
    kernels = [
        np.asarray(jax.random.normal(one, (3, 3, n, m))) * np.sqrt(2 / 9 / n)
        for one, n, m in zip(jax.random.split(key, 3), inputs, RANDOM_WIDTHS, strict=True)
    ]
    for i in range(2):
        y = stretched(T[i])
        for kernel, feature in zip(kernels, features, strict=True):
            y = squares(np.maximum(conv(y, kernel.astype(np.float64)), 0)).mean(axis=0)
            np.testing.assert_allclose(feature[i], y, atol=1e-5 * y.max())
    assert [feature.shape[1:3] for feature in features] == [(8, 8), (4, 4), (2, 2)]


def test_random_features_depend_on_the_key_alone():
    values = [perceptual(random_extractor(jax.random.key(seed)))(P, T) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(values[0], values[1])
    assert np.all(values[0] != values[2])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network in the form of torchvision's, and its file."""
    shapes = {0: (4, 3), 2: (5, 4), 5: (3, 5), 7: (6, 3)}
    arrays = {}
    for layer, (out, inputs) in shapes.items():
        arrays[f"features.{layer}.weight"] = RNG.normal(0, 0.3, (out, inputs, 3, 3))
        arrays[f"features.{layer}.bias"] = RNG.normal(0, 0.1, out)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.npz"
    np.savez(path, **arrays)
    return arrays, path


def test_vgg_is_that_of_its_layers(weights):
    arrays, path = weights
    (feature,) = jax.jit(vgg_extractor(path))(T)
    for i in range(2):
        y = (stretched(T[i]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        for layer in (0, 2, 5, 7):
            if layer == 5:
                y = squares(y).max(axis=0)
            kernel = arrays[f"features.{layer}.weight"].transpose(2, 3, 1, 0)
            y = np.maximum(conv(y, kernel) + arrays[f"features.{layer}.bias"], 0)
        np.testing.assert_allclose(feature[i], y, atol=1e-4 * y.max())


def test_loss_is_the_mean_over_levels_of_mean_squares():
    extractor = random_extractor(jax.random.key(0))
    found = perceptual(extractor)(P, T)
    levels = [
        np.square(np.asarray(a, np.float64) - b).mean((1, 2, 3))
        for a, b in zip(extractor(P), extractor(T), strict=True)
    ]
    np.testing.assert_allclose(found, np.mean(levels, axis=0), rtol=1e-5)
    assert found.shape == (2,)
    assert not np.any(perceptual(extractor)(T, T))


def test_gradients_are_finite_and_not_zero(weights):
    zeros = jnp.zeros((1, 16, 16, 1))
    for extractor in (random_extractor(jax.random.key(0)), vgg_extractor(weights[1])):
        slope = jax.jit(jax.grad(lambda p, t, e=extractor: perceptual(e)(p, t).sum()))
        for a in (zeros, zeros - 1, zeros + 1e4, jnp.asarray(P[:1, :16])):
            assert np.isfinite(slope(a, jnp.asarray(T[:1, :16]))).all()
        assert np.any(slope(jnp.asarray(P[:1, :16]), jnp.asarray(T[:1, :16])))


def test_files_that_are_no_weights_are_refused(weights, tmp_path):
    with pytest.raises(InputError, match=r"absent\.npz: cannot be read"):
        vgg_extractor(tmp_path / "absent.npz")
    text = tmp_path / "text.npz"
    text.write_text("hello")
    with pytest.raises(InputError, match=r"text\.npz: cannot be read"):
        vgg_extractor(text)
    arrays = dict(weights[0])
    bad = tmp_path / "bad.npz"
    np.savez(bad, **(arrays | {"features.5.weight": arrays["features.0.weight"]}))
    with pytest.raises(InputError, match=r"features\.5\.weight is \(4, 3, 3, 3\)"):
        vgg_extractor(bad)
    del arrays["features.7.bias"]
    np.savez(bad, **arrays)
    with pytest.raises(InputError, match=r"features\.7\.bias is missing"):
        vgg_extractor(bad)

"""Astro U-net: count of the paper, numpy and PyTorch as outside truths, reach, odd sides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d
from scipy.special import expit

from xmm_jax.models.unet import PRELU_SLOPE, REACH, STEP, UNet
from xmm_jax.tiling import by_parts

PUBLISHED = 7_761_345
RATIO = np.asarray([2.0, 5.0], np.float32)


@functools.cache
def small(channels=1, size=(32, 48), **settings):
    """Network of 2 filters with every weight drawn, inputs and weights as numpy."""
    network = UNet(filters=2, in_channels=channels, **settings)
    rng = np.random.default_rng(0)
    inputs = rng.normal(0.5, 1.0, (2, *size, channels)).astype(np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), inputs, RATIO)["params"]
    draw = lambda leaf: rng.normal(0, 0.35, leaf.shape).astype(np.float32)  # noqa: E731
    return network, jax.tree.map(draw, shapes), inputs


def run(network, params, inputs, ratio=RATIO):
    return np.asarray(jax.jit(network.apply)({"params": params}, inputs, ratio))


def number(**settings):
    network = UNet(**settings)
    one = jnp.zeros((1, 16, 16, network.in_channels))
    shapes = jax.eval_shape(network.init, jax.random.key(0), one, jnp.ones(1))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_number_of_parameters_is_that_of_the_paper():
    assert number() == PUBLISHED
    assert number(ratio="none") == number(ratio="input") == PUBLISHED - 9 * 256
    assert number(in_channels=2) == PUBLISHED + 9 * 32
    # One slope per channel of every layer but the last.
    layers = 2 * (2 * (32 + 64 + 128 + 256) + 512)
    assert number(activation="prelu") == PUBLISHED + layers


ACTIVATED = {
    "leaky": lambda x, slopes: np.where(x > 0, x, 0.2 * x),
    "relu": lambda x, slopes: np.maximum(x, 0),
    "prelu": lambda x, slopes: np.where(x > 0, x, x * slopes),
    "swish": lambda x, slopes: x * expit(x),
}


def in_numpy(params, image, ratio, activation="leaky", where="bottom"):
    """The network of the paper for one image [y, x, c], float64, convolutions of scipy."""
    params = jax.tree.map(lambda leaf: leaf.astype(np.float64), params)

    def conv(x, name):
        kernel = params[name]["kernel"]
        planes = [
            sum(correlate2d(x[..., i], kernel[..., i, o], "same") for i in range(x.shape[-1]))
            for o in range(kernel.shape[-1])
        ]
        return np.stack(planes, axis=-1) + params[name]["bias"]

    def pair(x, name):
        for i in (1, 2):
            slopes = params.get(f"{name}_prelu{i}", {}).get("slope")
            x = ACTIVATED[activation](conv(x, f"{name}_conv{i}"), slopes)
        return x

    def finer(x, kernel):
        out = np.zeros((2 * x.shape[0], 2 * x.shape[1], kernel.shape[2]))
        for a in (0, 1):
            for b in (0, 1):
                out[a::2, b::2] = x @ kernel[a, b].T
        return out

    x, skips = image.astype(np.float64), []
    if where == "input":
        x = x * np.asarray([ratio] + [1.0] * (x.shape[-1] - 1))
    for level in (1, 2, 3, 4):
        skips.append(pair(x, f"down{level}"))
        y = skips[-1]
        x = np.max([y[a::2, b::2] for a in (0, 1) for b in (0, 1)], axis=0)
    x = pair(x, "bottom")
    for level in (4, 3, 2, 1):
        parts = [finer(x, params[f"up{level}_transposed"]["kernel"]), skips.pop()]
        if level == 4 and where == "bottom":
            parts.append(np.full((*parts[0].shape[:2], 1), ratio))
        x = pair(np.concatenate(parts, axis=-1), f"up{level}")
    return conv(x, "last")


@pytest.mark.parametrize(
    ("channels", "settings"),
    [
        (1, {"activation": "leaky"}),
        (1, {"activation": "prelu"}),
        (1, {"activation": "swish", "ratio": "none"}),
        (2, {"activation": "relu", "ratio": "input"}),
    ],
)
def test_equals_numpy(channels, settings):
    network, params, inputs = small(channels, **settings)
    answer = run(network, params, inputs)
    where = settings.get("ratio", "bottom")
    for i in range(2):
        expected = in_numpy(params, inputs[i], RATIO[i], settings["activation"], where)
        np.testing.assert_allclose(answer[i], expected, atol=2e-5 * np.abs(expected).max())


def test_odd_sides_are_those_of_an_image_that_ends_in_zeros():
    network, params, inputs = small()
    cut = inputs[:, :23, :37]
    filled = np.zeros((2, 32, 48, 1), np.float32)
    filled[:, :23, :37] = cut
    answer = run(network, params, cut)
    assert answer.shape == (2, 23, 37, 1)
    np.testing.assert_allclose(answer, run(network, params, filled)[:, :23, :37], atol=1e-5)


def test_reach_is_that_of_intervals_going_back_through_the_layers():
    far = 0
    for pixel in range(STEP):
        first = last = pixel
        for _ in range(4):
            first, last = (first - 2) // 2, (last + 2) // 2
        first, last = first - 2, last + 2
        for _ in range(4):
            first, last = 2 * first - 2, 2 * last + 3
        far = max(far, pixel - first, last - pixel)
    assert far == 107
    assert STEP * -(-far // STEP) == REACH
    assert UNet().reach == REACH


def test_a_pixel_reaches_as_far_as_said():
    network, params, _ = small()
    side = 16 * STEP
    apply = jax.jit(network.apply)

    def reached(place):
        """Farthest change of the answer when the pixel (place, place) changes."""
        image = np.random.default_rng(2).random((1, side, side, 1)).astype(np.float32)
        before = np.asarray(apply({"params": params}, image, RATIO[:1]))[0, ..., 0]
        image[0, place, place] += 1e4
        after = np.asarray(apply({"params": params}, image, RATIO[:1]))[0, ..., 0]
        return np.abs(np.argwhere(before != after) - place).max()

    # 107 pixels are between places 13 and 2, or 2 and 13, of squares of 16.
    assert [reached(8 * STEP + place) for place in (2, 13)] == [107, 107]
    assert reached(8 * STEP + 14) < 107


def test_parts_equal_the_whole_where_windows_start_at_multiples_of_16():
    network, params, _ = small(activation="leaky")
    height, width = 20 * STEP, 16
    image = np.random.default_rng(3).random((1, height, width)).astype(np.float32)
    apply = jax.jit(network.apply)

    def answer(images):
        return np.asarray(apply({"params": params}, images["rate"][..., None], RATIO[:1]))

    parts = by_parts(answer, {"rate": image}, side=2 * STEP, reach=REACH, upscale=1)
    whole = answer({"rate": image})
    np.testing.assert_allclose(parts, whole, atol=1e-5 * np.abs(whole).max())


def test_first_weights():
    network = UNet(filters=8, activation="prelu")
    params = jax.jit(network.init)(jax.random.key(1), jnp.zeros((1, 16, 16, 1)), jnp.ones(1))
    params = params["params"]
    conv = params["bottom_conv2"]["kernel"]
    bound = np.sqrt(6 / (2 * 9 * 128))  # Glorot & Bengio 2010, equation 16
    assert 0.99 * bound < np.abs(conv).max() <= bound
    transposed = params["up4_transposed"]
    assert "bias" not in transposed
    assert 0.036 < np.abs(transposed["kernel"]).max() <= 0.04
    assert not np.any(params["down1_conv1"]["bias"])
    np.testing.assert_array_equal(params["down1_prelu1"]["slope"], PRELU_SLOPE)


def test_gradients_are_finite_and_reach_every_weight():
    network, params, inputs = small(activation="prelu")

    def total(weights):
        return jnp.square(network.apply({"params": weights}, inputs, RATIO)).mean()

    for leaf in jax.tree.leaves(jax.jit(jax.grad(total))(params)):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)


@pytest.mark.parametrize(
    ("settings", "channels", "ratio"),
    [
        ({"activation": "tanh"}, 1, RATIO),
        ({"ratio": "top"}, 1, RATIO),
        ({}, 2, RATIO),
        ({}, 1, None),
        ({}, 1, RATIO[:1]),
    ],
)
def test_what_does_not_fit_is_refused(settings, channels, ratio):
    inputs = jnp.zeros((2, 16, 16, channels))
    with pytest.raises(ValueError, match=r"must|needed"):
        UNet(filters=2, **settings).init(jax.random.key(0), inputs, ratio)


def test_equals_pytorch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    network, params, inputs = small(activation="leaky")
    weights = jax.tree.map(torch.from_numpy, params)

    def pair(x, name):
        for i in (1, 2):
            layer = weights[f"{name}_conv{i}"]
            x = functional.conv2d(x, layer["kernel"].permute(3, 2, 0, 1), layer["bias"], padding=1)
            x = functional.leaky_relu(x, 0.2)
        return x

    x, skips = torch.from_numpy(inputs).permute(0, 3, 1, 2), []
    for level in (1, 2, 3, 4):
        skips.append(pair(x, f"down{level}"))
        x = functional.max_pool2d(skips[-1], 2)
    x = pair(x, "bottom")
    for level in (4, 3, 2, 1):
        kernel = weights[f"up{level}_transposed"]["kernel"].permute(3, 2, 0, 1)
        parts = [functional.conv_transpose2d(x, kernel, stride=2), skips.pop()]
        if level == 4:
            ratio = torch.from_numpy(RATIO)[:, None, None, None]
            parts.append(ratio.expand(-1, -1, *parts[0].shape[2:]))
        x = pair(torch.cat(parts, 1), f"up{level}")
    last = weights["last"]
    x = functional.conv2d(x, last["kernel"].permute(3, 2, 0, 1), last["bias"])
    expected = x.permute(0, 2, 3, 1).numpy()
    answer = run(network, params, inputs)
    np.testing.assert_allclose(answer, expected, atol=2e-5 * np.abs(expected).max())

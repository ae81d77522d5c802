"""The graph against a plain numpy one, its gradients, precision, and layout of weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from xmm_jax.losses import combine
from xmm_jax.models import build, init
from xmm_jax.models.rrdb import RRDB, clamp, pixel_shuffle, squareplus

# Filters and blocks: parameters of SR with 1 and 2 input channels, DN with 1 and 2, counted on the
# published PyTorch classes.
COUNTS = {
    (32, 4): (1_716_897, 1_717_185, 1_670_657, 1_670_945),
    (16, 4): (429_905, 430_049, 418_305, 418_449),
    (16, 3): (325_985, 326_129, 314_385, 314_529),
    (8, 2): (55_737, 55_809, 52_817, 52_889),
    (64, 4): (6_862_145, 6_862_721, 6_677_505, 6_678_081),
    (64, 23): (38_399_105, 38_399_681, 38_214_465, 38_215_041),
}


def _shapes(network):
    inputs = jax.ShapeDtypeStruct((1, 8, 8, network.in_channels), jnp.float32)
    return jax.eval_shape(network.init, jax.random.key(0), inputs)["params"]


def _random_params(network, seed=0):
    """Weights as large as those of a new network, without compiling a random draw."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(-0.15, 0.15, leaf.shape), jnp.float32),
        _shapes(network),
    )


def _conv(x, layer, block=None):
    kernel, bias = (np.asarray(layer[n], np.float64) for n in ("kernel", "bias"))
    if block is not None:
        kernel, bias = kernel[block], bias[block]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    _, height, width, _ = x.shape
    return bias + sum(
        padded[:, dy : dy + height, dx : dx + width] @ kernel[dy, dx]
        for dy in range(3)
        for dx in range(3)
    )


def _leaky(x, slope):
    return np.where(x > 0, x, slope * x)


def _shuffle(x):
    b, height, width, channels = x.shape
    out = np.zeros((b, 2 * height, 2 * width, channels // 4))
    for y in range(2 * height):
        for column in range(2 * width):
            for c in range(channels // 4):
                source = 4 * c + 2 * (y % 2) + column % 2
                out[:, y, column, c] = x[:, y // 2, column // 2, source]
    return out


def _network(inputs, params, *, blocks, upscale):
    first = _conv(inputs, params["conv_first"])
    x = first
    for block in range(blocks):
        y = x
        for dense in ("RDB1", "RDB2", "RDB3"):
            layers, seen = params["RRDB_trunk"][dense], y
            for conv in ("conv1", "conv2", "conv3", "conv4"):
                seen = np.concatenate([seen, _leaky(_conv(seen, layers[conv], block), 0.2)], -1)
            y = y + 0.2 * _conv(seen, layers["conv5"], block)
        x = x + 0.2 * y
    x = first + _conv(x, params["trunk_conv"])
    if upscale == 1:
        return np.clip(_conv(x, params["conv_last"]) + inputs[..., :1], 0, 1)
    x = _shuffle(_leaky(_conv(x, params["upsampling"]), 0.01))
    return np.clip(_conv(_leaky(_conv(x, params["HRconv"]), 0.2), params["conv_last"]), 0, 1)


@pytest.mark.parametrize("upscale", [1, 2])
def test_is_the_published_graph(upscale):
    network = RRDB(filters=4, blocks=2, upscale=upscale, in_channels=2)
    params = _random_params(network)
    params["conv_last"]["bias"] += 0.5 * (upscale - 1)  # away from the limits of the clamp
    inputs = np.random.default_rng(1).random((2, 5, 7, 2)).astype(np.float32)
    outputs = network.apply({"params": params}, inputs)
    expected = _network(inputs.astype(np.float64), params, blocks=2, upscale=upscale)
    assert outputs.shape == (2, 5 * upscale, 7 * upscale, 1)
    assert np.mean((expected > 0) & (expected < 1)) > 0.2
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


@pytest.mark.parametrize(("size", "counts"), COUNTS.items())
@pytest.mark.parametrize(
    ("column", "upscale", "in_channels"), [(0, 2, 1), (1, 2, 2), (2, 1, 1), (3, 1, 2)]
)
def test_number_of_parameters(size, counts, column, upscale, in_channels):
    filters, blocks = size
    network = RRDB(filters, blocks, upscale, in_channels, unroll=1)
    assert sum(leaf.size for leaf in jax.tree.leaves(_shapes(network))) == counts[column]


def test_pixel_shuffle_follows_the_channel_order_of_pytorch():
    x = np.random.default_rng(0).random((2, 3, 4, 12)).astype(np.float32)
    np.testing.assert_array_equal(pixel_shuffle(x, 2), _shuffle(x).astype(np.float32))


def test_clamp_clips_values_and_passes_gradients():
    x = jnp.array([-3.0, -1e-7, 0.0, 0.25, 1.0, 1.0001, 40.0])
    np.testing.assert_array_equal(clamp(x), np.clip(x, 0.0, 1.0))
    np.testing.assert_array_equal(jax.grad(lambda x: clamp(x).sum())(x), np.ones(7))
    np.testing.assert_array_equal(jax.jvp(clamp, (x,), (2 * x,))[1], 2 * x)


@pytest.mark.parametrize(
    "options", [{"unroll": 1}, {"unroll": 2}, {"remat": True, "unroll": 1}, {"remat": True}]
)
def test_loop_and_recomputation_change_nothing(options):
    plain = RRDB(filters=3, blocks=2, upscale=2)
    other = RRDB(filters=3, blocks=2, upscale=2, **options)
    params = _random_params(plain)
    inputs = np.random.default_rng(2).random((1, 6, 5, 2)).astype(np.float32)

    def value_and_gradient(network):
        def mean(params):
            return jnp.mean(network.apply({"params": params}, inputs) ** 2)

        return jax.jit(jax.value_and_grad(mean))(params)

    assert jax.tree.structure(_shapes(other)) == jax.tree.structure(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7),
        value_and_gradient(other),
        value_and_gradient(plain),
    )


def test_recomputation_saves_memory():
    inputs = jnp.zeros((1, 64, 64, 2))

    def memory(remat):
        network = RRDB(filters=8, blocks=3, upscale=1, remat=remat, unroll=1)
        params = _random_params(network)
        step = jax.jit(jax.grad(lambda p: jnp.sum(network.apply({"params": p}, inputs))))
        return step.lower(params).compile().memory_analysis().temp_size_in_bytes

    assert memory(remat=True) < 0.5 * memory(remat=False)


@pytest.mark.parametrize("upscale", [1, 2])
def test_bfloat16_keeps_weights_and_output_in_float32(upscale):
    exact = RRDB(filters=8, blocks=2, upscale=upscale)
    rough = RRDB(filters=8, blocks=2, upscale=upscale, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(_shapes(rough))} == {jnp.dtype("float32")}
    params = _random_params(exact)
    inputs = np.random.default_rng(3).random((1, 12, 10, 2)).astype(np.float32)
    outputs = [network.apply({"params": params}, inputs) for network in (exact, rough)]
    assert outputs[1].dtype == jnp.float32
    error = np.sqrt(np.mean(np.square(outputs[1] - outputs[0])) / np.mean(np.square(outputs[0])))
    assert 0 < error < 0.03
    jaxpr = str(jax.make_jaxpr(lambda x: rough.apply({"params": params}, x))(inputs))
    convolutions = [line for line in jaxpr.splitlines() if "= conv_general_dilated" in line]
    types = [line.split("=")[0].split(":")[1].split("[")[0] for line in convolutions]
    assert types.count("f32") == 1
    assert types[-1] == "f32"


def test_wrong_use_is_refused():
    inputs = jnp.zeros((1, 8, 8, 2))
    with pytest.raises(ValueError, match="upscale"):
        RRDB(filters=2, blocks=1, upscale=4).init(jax.random.key(0), inputs)
    with pytest.raises(ValueError, match="3 channels"):
        RRDB(filters=2, blocks=1, upscale=2, in_channels=3).init(jax.random.key(0), inputs)


def _field(side, upscale, seed):
    """A crude field: a bright blob, faint background, Poisson noise, in network units."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    mean = 0.2 + 20 * np.exp(-((y - 0.4) ** 2 + (x - 0.55) ** 2) / 0.02)
    image = np.sqrt(np.clip(rng.poisson(mean) / 44.67, 0, 1))
    inputs = np.stack([image, np.full_like(image, 0.2)], -1)[None].astype(np.float32)
    target = np.sqrt(np.clip(mean / 44.67, 0, 1)).repeat(upscale, 0).repeat(upscale, 1)
    return inputs, target[None, ..., None].astype(np.float32)


def _check_no_dead_start(network, *, seeds, side):
    """Every layer of every seed has a gradient; return how many would be dead as published."""
    inputs, target = _field(side, network.upscale, seed=0)
    loss = combine({"psnr": 1.0}, stretch="sqrt")

    def objective(params):
        outputs = network.apply({"params": params}, inputs)
        return loss(outputs, target)[0], outputs

    gradient = jax.jit(jax.grad(objective, has_aux=True))
    blank = 0
    for seed in range(seeds):
        params = init(jax.random.key(seed), network, 2)
        gradients, outputs = gradient(params)
        blank += not np.any((outputs > 0) & (outputs < 1))
        for path, leaf in flatten_dict(gradients).items():
            layers = leaf if path[0] == "RRDB_trunk" else leaf[None]
            for block, layer in enumerate(layers):
                assert np.isfinite(layer).all(), (seed, path, block)
                assert np.any(layer), (seed, path, block)
    return blank


@pytest.mark.slow
def test_no_dead_start():
    network = build(size="small", upscale=2)
    assert _check_no_dead_start(network, seeds=40, side=16) > 0


@pytest.mark.slow
def test_no_dead_start_of_the_network_of_the_paper():
    network = build(size="base", upscale=2)
    assert _check_no_dead_start(network, seeds=60, side=96) > 0


def test_gradient_reaches_every_layer_when_all_outputs_are_clipped():
    network = RRDB(filters=4, blocks=1, upscale=2)
    flat = flatten_dict(_random_params(network))
    flat["conv_last", "bias"] = jnp.full((1,), -50.0)
    params = unflatten_dict(flat)
    inputs, target = _field(8, 2, seed=1)
    outputs = network.apply({"params": params}, inputs)
    assert not np.any(outputs)
    gradients = jax.grad(lambda p: jnp.mean((network.apply({"params": p}, inputs) - target) ** 2))(
        params
    )
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize("side", [(7, 10)])
def test_a_coarse_trunk_takes_any_size(upscale, side):
    network = RRDB(4, 1, upscale, unshuffle=2, end="positive", outputs=2)
    params = _random_params(network)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *side, 2)), jnp.float32)
    y = network.apply({"params": params}, x)
    assert y.shape == (2, upscale * side[0], upscale * side[1], 2)
    assert (y[..., 0] > 0).all()
    # Rows of zeros that are there already change nothing where they would be added.
    even = jnp.pad(x, ((0, 0), (0, side[0] % 2), (0, side[1] % 2), (0, 0)))
    whole = network.apply({"params": params}, even)
    np.testing.assert_array_equal(y, whole[:, : y.shape[1], : y.shape[2]])


def test_a_coarse_trunk_keeps_pixels_in_their_place():
    """A bright pixel changes its own surroundings, on whichever of the four sub-pixels it falls."""
    network = RRDB(4, 1, 2, unshuffle=2, end="positive")
    params = _random_params(network)
    dark = network.apply({"params": params}, jnp.zeros((1, 80, 80, 2)))[0, :, :, 0]
    for place in ((40, 40), (41, 40), (40, 41), (41, 41)):
        x = jnp.zeros((1, 80, 80, 2)).at[0, *place, 0].set(1.0)
        change = np.abs(network.apply({"params": params}, x)[0, :, :, 0] - dark)
        rows, columns = np.indices(change.shape)
        centre = [(change * axis).sum() / change.sum() for axis in (rows, columns)]
        np.testing.assert_allclose(centre, [2 * place[0] + 0.5, 2 * place[1] + 0.5], atol=4)


def test_the_smooth_end_is_positive_and_becomes_the_identity():
    x = jnp.asarray([-100.0, -1.0, 0.0, 1.0, 100.0])
    y = squareplus(x)
    np.testing.assert_allclose(y - squareplus(-x), x, rtol=1e-3)
    assert (y > 0).all()
    assert y[2] == pytest.approx(0.05)

"""Discriminator of ESRGAN: sizes, batch normalisation, and the same network in numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from xmm_jax.losses.adversarial import relativistic_discriminator
from xmm_jax.models.discriminator import VGGDiscriminator
from xmm_jax.parallel import AXIS, make_mesh, place_batch, place_state, spread

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(0.3, 0.2, (4, 8, 12, 1)).astype(np.float32)


def small(**settings):
    """A network of two halvings with weights and statistics drawn far from the first ones."""
    network = VGGDiscriminator(**{"sides": (8, 12), "filters": 3, "halvings": 2, **settings})
    draw = np.random.default_rng(1)

    def drawn(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return draw.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        return 0.3 * draw.standard_normal(leaf.shape, np.float32)

    return network, jax.tree.map_with_path(drawn, shapes_of(network))


def shapes_of(network):
    images = jax.ShapeDtypeStruct((1, *network.sides, network.channels), jnp.float32)
    return jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), images)


def run(network, variables, images, *, train=False):
    """Logits and, in training, the new statistics."""
    mutable = ["batch_stats"] if train else False
    return jax.jit(lambda held, x: network.apply(held, x, train=train, mutable=mutable))(
        variables, images
    )


def count(tree):
    return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("channels", "total"), [(3, 14_499_401), (1, 14_498_249)])
def test_parameters_of_the_published_network(channels, total):
    # Discriminator_VGG_128 layer by layer: (side of the kernel, features in, features out).
    layers = [(3, channels, 64), (4, 64, 64), (3, 64, 128), (4, 128, 128), (3, 128, 256)]
    layers += [(4, 256, 256), (3, 256, 512), (4, 512, 512), (3, 512, 512), (4, 512, 512)]
    kernels = sum(side**2 * a * b for side, a, b in layers)
    norms = 2 * sum(b for _, _, b in layers[1:])
    dense = (512 * 4 * 4 * 100 + 100) + (100 + 1)
    found = shapes_of(VGGDiscriminator(channels=channels))
    assert count(found["params"]) == kernels + 64 + norms + dense == total
    assert count(found["batch_stats"]) == norms
    convs = [found["params"][f"conv{i}_{j}"]["kernel"].shape for i in range(5) for j in (0, 1)]
    assert convs == [(side, side, a, b) for side, a, b in layers]
    biases = {name for name, held in found["params"].items() if set(held) == {"kernel", "bias"}}
    assert biases == {"conv0_0", "dense1", "dense2"}


def test_first_weights_are_uniform_within_the_root_of_their_inputs():
    network = VGGDiscriminator(sides=(8, 8), filters=16, halvings=2)
    draw = jax.jit(network.init, static_argnames="train")
    params = draw(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)["params"]
    inputs = {"conv0_1": 16 * 16, "conv1_0": 9 * 16, "dense1": 2 * 2 * 32}
    for name, number in inputs.items():
        kernel = np.asarray(params[name]["kernel"])
        bound = 1 / np.sqrt(number)
        assert 0.99 * bound < np.abs(kernel).max() <= bound
        np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.03)
    bias = np.abs(params["dense1"]["bias"])
    assert 0.9 / np.sqrt(128) < bias.max() <= 1 / np.sqrt(128)
    np.testing.assert_array_equal(params["conv1_0_norm"]["scale"], 1)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def conv(x, layer, stride):
    """Convolution with one pixel of zeros around, in float64."""
    kernel = np.asarray(layer["kernel"], np.float64)
    side = kernel.shape[0]
    room = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = x.shape[1] // stride, x.shape[2] // stride
    out = np.zeros((len(x), rows, columns, kernel.shape[3]))
    for i in range(rows):
        for j in range(columns):
            a, b = stride * i, stride * j
            window = room[:, a : a + side, b : b + side]
            out[:, i, j] = np.einsum("nabc,abcd->nd", window, kernel)
    return out + layer.get("bias", 0.0)


def in_numpy(variables, images, *, train):
    """The network of two halvings, written out."""
    params, stats = variables["params"], variables["batch_stats"]

    def norm(x, name):
        held, own = stats[name], params[name]
        mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else (held["mean"], held["var"])
        return (x - mean) / np.sqrt(var + 1e-5) * own["scale"] + own["bias"]

    x = leaky(conv(images, params["conv0_0"], 1))
    x = leaky(norm(conv(x, params["conv0_1"], 2), "conv0_1_norm"))
    x = leaky(norm(conv(x, params["conv1_0"], 1), "conv1_0_norm"))
    x = leaky(norm(conv(x, params["conv1_1"], 2), "conv1_1_norm"))
    x = x.reshape(len(x), -1)
    x = leaky(x @ params["dense1"]["kernel"] + params["dense1"]["bias"])
    return (x @ params["dense2"]["kernel"] + params["dense2"]["bias"])[:, 0]


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
def test_equals_numpy(train, channels):
    network, variables = small(channels=channels)
    images = np.random.default_rng(3).normal(0.3, 0.2, (3, 8, 12, channels)).astype(np.float32)
    found = run(network, variables, images, train=train)
    found = found[0] if train else found
    assert found.shape == (3,)
    assert found.dtype == np.float32
    expected = in_numpy(variables, images, train=train)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_running_statistics():
    network, variables = small()
    _, new = run(network, variables, IMAGES, train=True)
    params = variables["params"]
    seen = conv(leaky(conv(IMAGES, params["conv0_0"], 1)), params["conv0_1"], 2)
    old, new = (held["batch_stats"]["conv0_1_norm"] for held in (variables, new))
    for name, value in (("mean", seen.mean((0, 1, 2))), ("var", seen.var((0, 1, 2)))):
        np.testing.assert_allclose(new[name], 0.9 * old[name] + 0.1 * value, rtol=1e-5)


def test_evaluation_knows_no_batch():
    network, variables = small()
    whole = np.asarray(run(network, variables, IMAGES))
    for i in range(4):
        alone = run(network, variables, IMAGES[i : i + 1])
        np.testing.assert_allclose(alone, whole[i : i + 1], rtol=1e-5)
    # In training it does.
    together, _ = run(network, variables, IMAGES, train=True)
    apart, _ = run(network, variables, IMAGES[:2], train=True)
    assert np.abs(np.asarray(together[:2] - apart)).max() > 1e-3


@pytest.mark.multidevice
@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_statistics_are_those_of_all_devices(kind):
    if jax.device_count() < 4:
        pytest.skip("needs four devices")
    whole, variables = small()
    expected, stats = run(whole, variables, IMAGES, train=True)
    network = whole.clone(axis_name="data")

    def step(held, images):
        return network.apply(held, images, train=True, mutable=["batch_stats"])

    if kind == "pmap":
        spread = jax.pmap(step, "data", in_axes=(None, 0), out_axes=(0, None))
        found, together = spread(variables, IMAGES[:, None])
        found = found[:, 0]
    else:
        mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
        all_, split = PartitionSpec(), PartitionSpec("data")
        spread = jax.shard_map(step, mesh=mesh, in_specs=(all_, split), out_specs=(split, all_))
        found, together = jax.jit(spread)(variables, IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), together, stats)


def test_gradients_are_finite_and_reach_every_weight_and_pixel():
    network, variables = small()

    def total(params, images):
        held = {**variables, "params": params}
        logits, _ = network.apply(held, images, train=True, mutable=["batch_stats"])
        return jnp.square(logits - 0.1).sum()

    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(variables["params"], IMAGES)
    for leaf in jax.tree.leaves(slopes):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)
    assert np.all(slopes[1])


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({"sides": (8, 10)}, (1, 8, 10, 1), "multiples of 4 pixels for 2 halvings, got 8 x 10"),
        ({"sides": (0, 8)}, (1, 0, 8, 1), "multiples of 4"),
        ({"halvings": 0}, (1, 8, 12, 1), "at least 1"),
        ({}, (1, 12, 8, 1), r"must be \[b, 8, 12, 1\], got \(1, 12, 8, 1\)"),
        ({}, (1, 8, 12, 3), "must be"),
        ({}, (8, 12, 1), "must be"),
    ],
)
def test_what_does_not_fit_is_refused(settings, shape, message):
    network = VGGDiscriminator(**{"sides": (8, 12), "filters": 2, "halvings": 2, **settings})
    with pytest.raises(ValueError, match=message):
        network.init(jax.random.key(0), jnp.zeros(shape), train=False)


@pytest.mark.multidevice
@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_a_step_of_the_discriminator_is_the_same_over_devices(kind):
    # Statistics and means of logits both reach over devices, and so do their gradients.
    if jax.device_count() < 4:
        pytest.skip("needs four devices")
    whole, variables = small()
    batch = {"real": IMAGES, "fake": IMAGES[::-1] ** 2}

    def gradient(held, batch, *, axis_name):
        network = whole.clone(axis_name=axis_name)

        def total(params):
            given = {**held, "params": params}
            real, fake = (
                network.apply(given, batch[name], train=True, mutable=["batch_stats"])[0]
                for name in ("real", "fake")
            )
            return jnp.mean(relativistic_discriminator(real, fake, axis_name=axis_name))

        slope = jax.grad(total)(held["params"])
        return slope if axis_name is None else jax.lax.pmean(slope, axis_name)

    mesh = make_mesh(4)
    step = spread(functools.partial(gradient, axis_name=AXIS), mesh, kind=kind)
    four = step(place_state(variables, mesh), place_batch(batch, mesh, kind=kind))
    one = jax.jit(functools.partial(gradient, axis_name=None))(variables, batch)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(one))
    for a, b in zip(jax.tree.leaves(four), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * largest)

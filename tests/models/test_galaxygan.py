"""Generator of GalaxyGAN: sizes, batch normalisation, dropout, and the same network in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from xmm_jax.models.galaxygan import GalaxyGAN

RNG = np.random.default_rng(0)
SHAPE = (4, 16, 32, 3)
INPUTS = RNG.normal(0.3, 0.2, SHAPE).astype(np.float32)
KEY = jax.random.key(7)


def small(**settings):
    """A network of depth 3 with weights and statistics drawn far from the first ones."""
    network = GalaxyGAN(**{"filters": 4, "depth": 3, **settings})
    draw = np.random.default_rng(1)

    def drawn(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return draw.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        return 0.2 * draw.standard_normal(leaf.shape, np.float32)

    return network, jax.tree.map_with_path(drawn, shapes_of(network, network.step))


def run(network, variables, inputs, *, key=None, train=False):
    """Answer and, in training, the new statistics."""
    mutable = ["batch_stats"] if train else False
    rngs = {"dropout": key} if train else {}
    return jax.jit(
        lambda held, images: network.apply(held, images, train=train, mutable=mutable, rngs=rngs)
    )(variables, inputs)


def shapes_of(network, side):
    inputs = jax.ShapeDtypeStruct((1, side, side, network.bands), jnp.float32)
    return jax.eval_shape(lambda x: network.init(jax.random.key(0), x, train=False), inputs)


def count(tree):
    return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(tree))


def test_parameters_of_the_whole_network():
    f = 64
    down = [(3, f), (f, 2 * f), (2 * f, 4 * f), (4 * f, 8 * f)] + 4 * [(8 * f, 8 * f)]
    # Behind the bottom each layer also takes the skip, as wide as what comes up.
    up = [(8 * f, 8 * f)] + 3 * [(16 * f, 8 * f)]
    up += [(16 * f, 4 * f), (8 * f, 2 * f), (4 * f, f), (2 * f, 1)]
    kernels = sum(16 * a * b for a, b in down + up)
    norms = 2 * (sum(b for _, b in down[1:-1]) + sum(b for _, b in up[:-1]))
    biases = f + 8 * f + 1  # first, bottom, last
    found = shapes_of(GalaxyGAN(), 256)
    assert count(found["params"]) == kernels + norms + biases == 54_410_433
    assert count(found["batch_stats"]) == norms


@pytest.mark.parametrize(("depth", "millions"), [(8, 54.408), (6, 29.238)])
def test_parameters_are_those_of_pix2pix(depth, millions):
    # Printed by junyanz/pytorch-CycleGAN-and-pix2pix for one channel in and out (issue 1152),
    # which has no biases but the last.
    params = shapes_of(GalaxyGAN(bands=1, depth=depth), 2**depth)["params"]
    ours = count(params["down1"]["bias"]) + count(params[f"down{depth}"]["bias"])
    assert round((count(params) - ours) / 1e6, 3) == millions


def test_layers():
    params = shapes_of(GalaxyGAN(), 256)["params"]
    norms = {name for name in params if name.endswith("norm")}
    assert norms == {f"down{i}_norm" for i in range(2, 8)} | {f"up{i}_norm" for i in range(2, 9)}
    biases = {name for name in params if "bias" in params[name]} - norms
    assert biases == {"down1", "down8", "up1"}
    assert params["down5"]["kernel"].shape == (4, 4, 512, 512)
    assert params["up1"]["kernel"].shape == (4, 4, 1, 128)


def test_first_weights():
    network = GalaxyGAN(filters=16, depth=3)
    draw = jax.jit(network.init, static_argnames="train")
    params = draw(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)["params"]
    for name in ("down3", "up3"):
        kernel = params[name]["kernel"]
        assert abs(np.mean(kernel)) < 5 * 0.02 / np.sqrt(kernel.size)
        np.testing.assert_allclose(np.std(kernel), 0.02, rtol=0.03)
    scales = np.concatenate([params[name]["scale"] for name in params if name.endswith("norm")])
    np.testing.assert_allclose(scales.mean(), 1, atol=0.01)
    np.testing.assert_allclose(scales.std(), 0.02, rtol=0.3)


@pytest.mark.parametrize("settings", [{}, {"depth": 4, "bands": 1}, {"last_norm": True}])
def test_shape_and_range(settings):
    network, variables = small(**settings)
    answer = np.asarray(run(network, variables, INPUTS[..., : network.bands]))
    assert answer.shape == (*SHAPE[:3], 1)
    assert answer.dtype == np.float32
    assert answer.min() > 0
    assert answer.max() < 1
    assert np.ptp(answer) > 1e-3


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({}, (1, 8, 12, 3), "multiples of 8 pixels for depth 3, got 8 x 12"),
        ({}, (1, 12, 8, 3), "multiples of 8"),
        ({}, (1, 8, 8, 1), r"must be \[b, y, x, 3\]"),
        ({}, (8, 8, 3), "must be"),
        ({"depth": 1}, (1, 8, 8, 3), "at least 2"),
    ],
)
def test_what_does_not_fit_is_refused(settings, shape, message):
    network = GalaxyGAN(**{"filters": 2, "depth": 3, **settings})
    with pytest.raises(ValueError, match=message):
        network.init(jax.random.key(0), jnp.zeros(shape), train=False)


def test_answers_know_nothing_of_the_batch_and_of_chance():
    network, variables = small()
    whole = run(network, variables, INPUTS)
    np.testing.assert_array_equal(run(network, variables, INPUTS), whole)
    alone = run(network, variables, INPUTS[1:2])
    np.testing.assert_allclose(alone, whole[1:2], rtol=1e-5)
    # In training they do.
    together, _ = run(network, variables, INPUTS, key=KEY, train=True)
    apart, _ = run(network, variables, INPUTS[:2], key=KEY, train=True)
    assert np.abs(np.asarray(together[:2] - apart)).max() > 1e-3


def test_dropout_follows_its_key_and_the_first_three_levels():
    network, variables = small()
    first, again, other = (
        np.asarray(run(network, variables, INPUTS, key=jax.random.key(i), train=True)[0])
        for i in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    still, variables = small(dropout=0.0)
    one, two = (
        np.asarray(run(still, variables, INPUTS, key=jax.random.key(i), train=True)[0])
        for i in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("depth", "levels"), [(3, 2), (5, 3)])
def test_dropout_is_in_the_first_three_levels(depth, levels):
    network = GalaxyGAN(filters=2, depth=depth)
    variables = shapes_of(network, network.step)
    inputs = jax.ShapeDtypeStruct((1, network.step, network.step, 3), jnp.float32)

    def answer(held, images, train):
        return network.apply(
            held, images, train=train, mutable=["batch_stats"], rngs={"dropout": KEY}
        )[0]

    for train in (True, False):
        program = jax.make_jaxpr(answer, static_argnums=2)(variables, inputs, train)
        assert str(program).count("random_bits[") == levels * train


def test_running_statistics():
    network, variables = small()
    _, new = run(network, variables, INPUTS, key=KEY, train=True)
    # What comes into the first batch normalisation, by the numpy convolution below.
    params = jax.tree.map(np.asarray, variables["params"])
    seen = conv(leaky(conv(INPUTS, params["down1"])), params["down2"])
    old, new = (stats["batch_stats"]["down2_norm"] for stats in (variables, new))
    np.testing.assert_allclose(
        new["mean"], 0.9 * old["mean"] + 0.1 * seen.mean((0, 1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * seen.var((0, 1, 2)), rtol=1e-5)


@pytest.mark.multidevice
@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_statistics_are_those_of_all_devices(kind):
    if jax.device_count() < 4:
        pytest.skip("needs four devices")
    whole, variables = small(dropout=0.0)
    expected, stats = run(whole, variables, INPUTS, key=KEY, train=True)
    network = whole.clone(axis_name="data")

    def step(held, images):
        return network.apply(
            held, images, train=True, mutable=["batch_stats"], rngs={"dropout": KEY}
        )

    if kind == "pmap":
        spread = jax.pmap(step, "data", in_axes=(None, 0), out_axes=(0, None))
        found, together = spread(variables, INPUTS[:, None])
        found = found[:, 0]
    else:
        mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
        all_, split = PartitionSpec(), PartitionSpec("data")
        spread = jax.shard_map(step, mesh=mesh, in_specs=(all_, split), out_specs=(split, all_))
        found, together = jax.jit(spread)(variables, INPUTS)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), together, stats)


def test_one_image_of_the_least_size_still_depends_on_the_bottom():
    # With batch normalisation there every feature of 1 x 1 x 1 would be 0.
    network, variables = small(dropout=0.0)

    def answer(kernel):
        params = {
            **variables["params"],
            "down3": {**variables["params"]["down3"], "kernel": kernel},
        }
        held = {**variables, "params": params}
        # Nothing of down3 but its kernel differs; its bias is there in both.
        return run(network, held, INPUTS[:1, :8, :8], key=KEY, train=True)[0]

    kernel = variables["params"]["down3"]["kernel"]
    turned = kernel * np.random.default_rng(2).choice([-1, 1], kernel.shape).astype(np.float32)
    assert np.abs(np.asarray(answer(kernel) - answer(turned))).max() > 1e-4


def test_gradients_are_finite_and_reach_every_weight():
    network, variables = small(last_norm=True)

    def total(params):
        held = {**variables, "params": params}
        answer, _ = network.apply(
            held, INPUTS, train=True, mutable=["batch_stats"], rngs={"dropout": KEY}
        )
        return jnp.square(answer - 0.1).sum()

    for leaf in jax.tree.leaves(jax.jit(jax.grad(total))(variables["params"])):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def conv(x, layer):
    """4x4 convolution with steps of 2 and one pixel of zeros around, in float64."""
    kernel = layer["kernel"].astype(np.float64)
    room = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1] // 2, x.shape[2] // 2
    out = np.zeros((len(x), height, width, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            window = room[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
            out[:, i, j] = np.einsum("nabc,abcd->nd", window, kernel)
    return out + layer.get("bias", 0.0)


def transposed(x, layer):
    """Every pixel adds its 4x4 kernel [a, b, out, in] to places 2 i - 1 + a, in float64."""
    kernel = layer["kernel"].astype(np.float64)
    n, height, width, _ = x.shape
    out = np.zeros((n, 2 * height + 2, 2 * width + 2, kernel.shape[2]))
    for i in range(height):
        for j in range(width):
            part = np.einsum("nd,abcd->nabc", x[:, i, j], kernel)
            out[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += part
    return out[:, 1:-1, 1:-1] + layer.get("bias", 0.0)


def test_equals_numpy():
    network, variables = small(filters=2, depth=3, bands=2)
    params, stats = (
        jax.tree.map(np.asarray, variables[name]) for name in ("params", "batch_stats")
    )

    def norm(x, name):
        mean, var = stats[name]["mean"], stats[name]["var"]
        scale, bias = params[name]["scale"], params[name]["bias"]
        return (x - mean) / np.sqrt(var + 1e-5) * scale + bias

    images = INPUTS[:2, :8, :16, :2]
    one = leaky(conv(images, params["down1"]))
    two = leaky(norm(conv(one, params["down2"]), "down2_norm"))
    bottom = leaky(conv(two, params["down3"]))
    up = leaky(norm(transposed(bottom, params["up3"]), "up3_norm"))
    up = leaky(norm(transposed(np.concatenate([up, two], -1), params["up2"]), "up2_norm"))
    last = transposed(np.concatenate([up, one], -1), params["up1"])
    expected = 1 / (1 + np.exp(-last))
    assert expected.shape == (2, 8, 16, 1)
    np.testing.assert_allclose(run(network, variables, images), expected, rtol=1e-5)


def test_equals_pytorch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    network, variables = small(depth=4)
    weights, stats = (
        jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), variables[name])
        for name in ("params", "batch_stats")
    )

    def layer(x, name, apply):
        kernel = weights[name]["kernel"].permute(3, 2, 0, 1)
        x = apply(x, kernel, weights[name].get("bias"), stride=2, padding=1)
        if f"{name}_norm" not in weights:
            return x
        held, own = stats[f"{name}_norm"], weights[f"{name}_norm"]
        return functional.batch_norm(x, held["mean"], held["var"], own["scale"], own["bias"])

    # In the order of pix2pix: leaky ReLU before each convolution, skips without it.
    x, skips = torch.from_numpy(INPUTS).permute(0, 3, 1, 2), []
    for level in range(1, 5):
        x = functional.leaky_relu(x, 0.2) if level > 1 else x
        x = layer(x, f"down{level}", functional.conv2d)
        skips.append(x)
    x = skips.pop()
    for level in (4, 3, 2):
        x = layer(functional.leaky_relu(x, 0.2), f"up{level}", functional.conv_transpose2d)
        x = torch.cat([x, skips.pop()], 1)
    x = layer(functional.leaky_relu(x, 0.2), "up1", functional.conv_transpose2d)
    expected = torch.sigmoid(x).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(run(network, variables, INPUTS), expected, rtol=2e-5)

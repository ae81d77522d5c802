"""Networks by name and their first weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from xmm_jax.errors import InputError
from xmm_jax.models import build, init


@pytest.fixture(scope="module")
def params():
    return init(jax.random.key(3), build(size="small", upscale=2), 2)


def test_sizes():
    sizes = {
        size: (network.filters, network.blocks)
        for size in ("tiny", "small", "base", "large")
        if (network := build(size=size, upscale=1))
    }
    assert sizes == {"tiny": (8, 1), "small": (16, 2), "base": (32, 4), "large": (64, 8)}


def test_filters_and_blocks_in_place_of_those_of_the_size():
    network = build("rrdb", size="base", upscale=2, filters=12, blocks=3)
    assert (network.filters, network.blocks) == (12, 3)
    assert build("rrdb", size="base", upscale=2, blocks=1).filters == 32
    with pytest.raises(InputError, match="must not be negative"):
        build("rrdb", size="base", upscale=2, filters=-1)


def test_options_reach_the_network():
    network = build("rrdb", size="tiny", upscale=2, in_channels=1, remat=True, dtype=jnp.bfloat16)
    assert (network.upscale, network.in_channels, network.remat) == (2, 1, True)
    assert network.dtype == jnp.bfloat16


@pytest.mark.parametrize("wrong", [{"name": "unet", "size": "tiny"}, {"size": "huge"}])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(InputError, match="unknown; networks are rrdb, flow, sizes tiny, small"):
        build(**wrong, upscale=2)


def test_first_weights_are_uniform_within_the_published_bounds(params):
    for path, leaf in flatten_dict(params).items():
        layer = "/".join(path[:-1])
        # The fan-in of the bias is that of its kernel.
        channels = flatten_dict(params)[(*path[:-1], "kernel")].shape[-2]
        bound = 1 / np.sqrt(channels if layer == "conv_last" else 9 * channels)
        upper = 1.01 * bound if layer == "conv_last" else bound
        assert leaf.dtype == jnp.float32
        assert leaf.min() >= -bound, layer
        assert leaf.max() <= upper, layer
        if leaf.size > 500:
            assert np.std(leaf) == pytest.approx(2 * bound / np.sqrt(12), rel=0.06), layer
            assert abs(np.mean(leaf)) < 5 * bound / np.sqrt(3 * leaf.size), layer
    assert np.ptp(params["conv_last"]["kernel"]) > 1.8 / np.sqrt(16)


def test_no_two_layers_share_a_draw(params):
    first = [np.ravel(leaf[block])[:3] for leaf in jax.tree.leaves(params["RRDB_trunk"])
             for block in range(2)]  # fmt: skip
    scaled = {tuple(np.round(values / np.abs(values).max(), 4)) for values in first}
    assert len(scaled) == len(first)


def test_weights_are_a_function_of_the_key(params):
    network = build(size="small", upscale=2)
    again, other = (init(jax.random.key(seed), network, 2) for seed in (3, 4))
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert not np.array_equal(params["conv_first"]["kernel"], other["conv_first"]["kernel"])


def test_init_draws_what_the_network_draws():
    network = build(size="tiny", upscale=1, in_channels=1)
    direct = jax.jit(network.init)(jax.random.key(7), jnp.zeros((1, 6, 5, 1)))["params"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7),
        init(jax.random.key(7), network, 1),
        direct,
    )

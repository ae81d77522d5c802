"""Super-resolved truth, seen by the instrument once more, is the truth of the input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.instrument import psf
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask
from xmm_jax.metrics.consistency import consistency, expected_counts
from xmm_jax.metrics.response import instrument_response
from xmm_jax.simulator.observe import build_optics, draw_pair


def _points(x, y, upscale):
    images = psf.stamps(PN, jnp.asarray(x), jnp.asarray(y), upscale, half_width=15)
    frame = jnp.zeros(mask(PN, upscale).shape)
    return np.asarray(psf.add_stamps(frame, *images))


def test_points_get_the_whole_psf():
    # Far from gaps of the detector and from one another; on and off axis, between pixel centres.
    x = np.array([243.3, 310.0, 242.1, 363.6, 88.2])
    y = np.array([223.1, 176.6, 334.4, 177.0, 331.3])
    assert all(mask(PN)[int(j) - 11 : int(j) + 12, int(i) - 11 : int(i) + 12].all()
               for i, j in zip(x, y, strict=True))  # fmt: skip
    respond = instrument_response("reference")
    seen, expected = respond(_points(x, y, 2)), _points(x, y, 1)
    assert seen.shape == expected.shape
    for column, row in np.round([x, y]).astype(int).T:
        near = slice(row - 12, row + 13), slice(column - 12, column + 13)
        assert seen[near].sum() == pytest.approx(expected[near].sum(), rel=0.01)
        np.testing.assert_allclose(seen[near], expected[near], atol=0.03 * expected[near].max())


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["physical", "reference"])
def test_simulated_truth_explains_the_input(preset):
    optics, respond = build_optics(preset, upscale=2), instrument_response(preset)
    draw = jax.jit(partial(draw_pair, preset=preset, upscale=2, target_background=False))
    for seed in range(3):
        sample = draw(jax.random.key(seed), optics)
        pair = {name: np.asarray(value)[..., 0] for name, value in sample.items()}
        rate = pair["target"] / np.maximum(pair["target_exposure"], 1)
        shared = {"background": pair["background"]}
        seen = pair["exposure"], pair["valid"]
        truth = consistency(
            expected_counts(rate, *seen, response=respond, **shared), pair["counts"], pair["valid"]
        )
        assert abs(truth.z) < 3
        assert abs(truth.blob_sigma) < 5.5
        sharp = consistency(expected_counts(rate, *seen, **shared), pair["counts"], pair["valid"])
        assert sharp.c_stat > truth.c_stat

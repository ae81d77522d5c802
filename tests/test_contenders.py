"""Networks and classical methods under one call."""

import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.config import SimulatedConfig
from xmm_jax.contenders import blurs, classical, tuned
from xmm_jax.errors import InputError
from xmm_jax.instrument import psf
from xmm_jax.instrument.camera import PN, from_native
from xmm_jax.protocols import simulated_fields
from xmm_jax.simulator.presets import find_preset


@pytest.fixture(scope="module")
def sample():
    return next(simulated_fields("dn", SimulatedConfig(fields=1), seed=2)).sample


@pytest.fixture(scope="module")
def fine_blurs():
    return blurs(2)


def test_blur_and_adjoint(fine_blurs):
    """<A x, y> = <x, A^T y>."""
    rng = np.random.default_rng(0)
    x, y = (rng.random((2 * PN.shape[0], 2 * PN.shape[1])) for _ in range(2))
    one = np.sum(fine_blurs["forward"](x).astype(float) * y)
    other = np.sum(x * fine_blurs["adjoint"](y).astype(float))
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize(("blur", "bins"), [("forward", 2), ("restore", 1)])
def test_blur_of_a_point(fine_blurs, blur, bins):
    """The input's PSF, on its own pixels, and that of the target, against exact stamps."""
    x, y = 150.25, 260.25  # [native pixel]: centre of one of the four fine pixels of a native one
    column, row = (round(from_native(position, 2)) for position in (x, y))
    sky = np.zeros((2 * PN.shape[0], 2 * PN.shape[1]))
    sky[row, column] = 1.0
    seen = fine_blurs[blur](sky)
    upscale = 2 // bins
    seen = seen.reshape(upscale * PN.shape[0], bins, upscale * PN.shape[1], bins).sum(axis=(1, 3))
    preset = find_preset("physical")
    position = [np.array([value], np.float32) for value in (x, y)]
    stamp, left, low = psf.stamps(
        PN, *position, upscale,
        half_width=preset.kernel_half_width, core_scale=preset.core_scale,
    )  # fmt: skip
    exact = np.asarray(psf.add_stamps(jnp.zeros(seen.shape), stamp, left, low))
    # Six common kernels for the whole field, and a pixel that is sampled at its centre.
    assert np.abs(seen - exact).max() < 0.05 * exact.max()
    assert seen.sum() == pytest.approx(1.0, abs=0.01)


def test_classical_keeps_light_and_grid(sample):
    rate = classical("gaussian", "dn").estimate(sample)
    counts, exposure, valid = (sample[name][..., 0] for name in ("counts", "exposure", "valid"))
    given = np.where(valid, counts / np.maximum(exposure, 1), 0).sum()
    assert rate.shape == counts.shape
    assert rate.sum() == pytest.approx(given, rel=1e-4)
    assert (rate[~valid] == 0).all()


def test_background_goes_where_the_target_has_none(sample):
    kept, taken = (classical("gaussian", task) for task in ("dn", "sr"))
    assert (kept.name, taken.name) == ("gaussian", "gaussian - background")
    assert classical("input", "sr").name == "input"
    assert taken.estimate(sample).sum() < 0.9 * kept.estimate(sample).sum()


def test_tuning_takes_the_best_of_the_grid(sample):
    """Against an own search over the grid, with the squared error of clamped rates."""
    found = tuned("gaussian", "dn", [sample]).parameters["sigma"]
    truth = np.where(
        sample["target_valid"], sample["target"] / np.maximum(sample["target_exposure"], 1), 0
    )[..., 0]
    clip = 0.0022336

    def error(sigma):
        rate = classical("gaussian", "dn", {"sigma": sigma}).estimate(sample)
        return np.mean((np.clip(rate, 0, clip) - np.clip(truth, 0, clip)) ** 2)

    assert found == min((0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0), key=error)


def test_unknown_method():
    with pytest.raises(InputError, match="unknown"):
        classical("magic", "dn")

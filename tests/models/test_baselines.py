"""What every classical method promises, tuning, and the strongest one on a published field."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.data.fitsfile import read_image
from xmm_jax.errors import InputError
from xmm_jax.metrics.image import compare
from xmm_jax.models.baselines import METHODS, missing, run, tune

Y, X = np.mgrid[:56, :60]
TRUTH = (0.5 + 30.0 * np.exp(-0.5 * ((X - 33.0) ** 2 + (Y - 20.0) ** 2) / 3.0**2)) / 2e4
EXPOSURE = np.where(X < 30, 2e4, 1.4e4) * np.ones(Y.shape, np.float32)
VALID = np.hypot(X - 30, Y - 28) < 29
COUNTS = np.where(VALID, np.random.default_rng(0).poisson(TRUTH * EXPOSURE), 0).astype(np.int32)
SAME = {name: lambda image: image for name in ("forward", "adjoint", "restore")}


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_keeps_its_promise(name, upscale):
    if reason := missing(name):
        pytest.skip(reason)
    inputs = tuple(one.copy() for one in (COUNTS, EXPOSURE, VALID))
    given = SAME if METHODS[name].given else {}
    rate = run(name, *inputs, upscale=upscale, **given)
    for before, after in zip((COUNTS, EXPOSURE, VALID), inputs, strict=True):
        np.testing.assert_array_equal(before, after)
    live = VALID.repeat(upscale, 0).repeat(upscale, 1)
    assert rate.shape == live.shape
    assert rate.dtype == np.float32
    assert np.isfinite(rate).all()
    assert not rate[~live].any()
    assert rate.sum() == pytest.approx((COUNTS / EXPOSURE)[VALID].sum(), rel=1e-5)
    peak = np.unravel_index(rate.argmax(), rate.shape)
    assert np.hypot(*(np.array(peak) / upscale - (20, 33))) < 4
    assert set(METHODS[name].grid) <= set(METHODS[name].parameters)


@pytest.mark.parametrize("name", METHODS)
def test_an_image_without_counts_gives_nothing(name):
    if reason := missing(name):
        pytest.skip(reason)
    given = SAME if METHODS[name].given else {}
    assert not run(name, 0 * COUNTS, EXPOSURE, VALID, upscale=1, **given).any()


def test_what_is_wrong_is_said():
    for name, options, message in (
        ("median2", {}, "method 'median2' is unknown; choose one of input"),
        ("gaussian", {"size": 3}, "'gaussian' has no parameter 'size'; it has sigma"),
        ("rl_variant", {"forward": None}, "needs to be given adjoint, restore"),
    ):
        with pytest.raises(InputError, match=message):
            run(name, COUNTS, EXPOSURE, VALID, upscale=1, **options)
    with pytest.raises(InputError, match="at least one pair"):
        tune("gaussian", [], lambda rate, pair: 0.0)


def test_missing_library_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    assert "pip install 'xmm-jax[bm3d]'" in missing("bm3d")
    assert not missing("gaussian")


def test_blend_is_a_weighted_mean():
    parts = [run(name, COUNTS, EXPOSURE, VALID, upscale=2) for name in ("input", "gaussian")]
    rate = run("blend", COUNTS, EXPOSURE, VALID, upscale=2, weight=0.3, method="gaussian")
    np.testing.assert_allclose(rate, 0.3 * parts[0] + 0.7 * parts[1], rtol=1e-5, atol=1e-12)


def test_tuning_finds_what_scores_best():
    """On a flat field the widest Gaussian is best; for the photons themselves the narrowest."""
    flat = np.random.default_rng(1).poisson(2.0, (40, 40))
    pair = {"counts": flat, "exposure": np.ones(flat.shape), "valid": flat >= 0, "target": flat}
    grid = METHODS["gaussian"].grid["sigma"]
    for wanted, best in ((2.0, max(grid)), (flat, min(grid))):
        found = tune("gaussian", [pair], lambda rate, _, w=wanted: -np.mean((rate - w) ** 2))
        assert found == {"sigma": best}
    assert tune("input", [pair], lambda rate, pair: 0.0) == METHODS["input"].parameters
    blended = tune("blend", [pair], lambda rate, p: -np.mean((rate - 2) ** 2), method="gaussian")
    assert (blended["weight"], blended["method"]) == (0.0, "gaussian")


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("input", 37.8, 37.9), ("gaussian", 41.3, 42.0), ("bm3d", 42.0, 42.5)],
)
def test_published_simulation(shared, name, least, most):
    """TNG50 448830, 20 ks to 100 ks; PSNR of the input by piq (golden), of BM3D measured apart."""
    if reason := missing(name):
        pytest.skip(reason)
    data = shared / "data"
    combined = data / "sim" / "combined"
    counts, target = (
        read_image(next((combined / folder).glob("TNG50_1_z_99_subhalos_448830_*"))).data
        for folder in ("20ks", "100ks")
    )
    valid, fine = (
        read_image(data / "detector_mask" / f"pn_mask_500_2000_detxy_{m}x.fits.gz").data > 0
        for m in (1, 2)
    )
    rate = run(name, np.where(valid, counts, 0), np.full(valid.shape, 2e4), valid, upscale=2)
    if name != "input":
        rate = np.where(fine, rate - 5.7e-6 / 4, 0)  # mean background of the published files
    # The frame of the golden numbers: 832 x 832, the low side 12 columns and 4 rows.
    images = [np.pad(one, ((4, 6), (12, 14))) for one in (rate, np.where(fine, target, 0) / 1e5)]
    images = [jnp.asarray(one, jnp.float32)[None, ..., None] for one in images]
    assert least < float(compare(*images, clip_rate=0.0005584, names=("PSNR",))["PSNR"][0]) < most

import functools

import jax
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.instrument import camera, detector
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import observe
from xmm_jax.simulator.presets import PRESETS

SR = {"upscale": 2, "target_background": False}
DN = {"upscale": 1, "target_background": True}


@functools.cache
def optics(preset, upscale):
    return observe.build_optics(preset, upscale=upscale)


def pair_function(preset, **options):
    draw = functools.partial(observe.draw_pair, preset=preset, **options)
    return lambda keys: draw(keys, optics(preset, options["upscale"]))


@functools.cache
def sr_pair(seed):
    return {name: np.asarray(value) for name, value in sr_draw()(jax.random.key(seed)).items()}


@functools.cache
def sr_draw():
    return jax.jit(pair_function("reference", **SR))


def test_fields_of_a_super_resolution_pair():
    pair = sr_pair(1)
    native, fine = (411, 403, 1), (822, 806, 1)
    expected = {
        "counts": (native, np.int32),
        "exposure": (native, np.float32),
        "valid": (native, bool),
        "target": (fine, np.float32),
        "target_exposure": (fine, np.float32),
        "target_valid": (fine, bool),
        "background": (native, np.float32),
    }
    assert {name: (value.shape, value.dtype) for name, value in pair.items()} == expected
    np.testing.assert_array_equal(pair["valid"][..., 0], detector.mask(PN))
    np.testing.assert_array_equal(pair["exposure"], np.where(pair["valid"], 20_000, 0))
    np.testing.assert_array_equal(pair["target_exposure"], pair["target_valid"] * 100_000.0)
    for field, valid in (
        ("counts", "valid"),
        ("background", "valid"),
        ("target", "target_valid"),
    ):
        assert not pair[field][~pair[valid]].any()
        assert (pair[field] >= 0).all()


def test_input_and_target_show_the_same_sky():
    for seed in (1, 2):
        pair = sr_pair(seed)
        live = pair["valid"][..., 0]
        signal = pair["counts"][..., 0] - pair["background"][..., 0]
        target = pair["target"][..., 0].reshape(411, 2, 403, 2).sum(axis=(1, 3)) / 5
        total = pair["counts"].sum()
        assert signal.sum() == pytest.approx(target.sum(), abs=5 * np.sqrt(total) + 0.02 * total)
        # Registered: shifting the target by a pixel either way fits the input worse, equally so.
        fit = [
            np.sum((signal * np.roll(target, shift, axis))[20:-20, 20:-20][live[20:-20, 20:-20]])
            for axis in (0, 1)
            for shift in (-1, 0, 1)
        ]
        for left, middle, right in (fit[:3], fit[3:]):
            curvature = left - 2 * middle + right
            assert curvature < 0
            assert abs((left - right) / (2 * curvature)) < 0.1


def test_counts_scatter_about_the_expected_rate_as_poisson_counts():
    draw = jax.jit(pair_function("physical", **DN, exposure_s=30_000.0, target_exposure_s=30_000.0))
    pair = {name: np.asarray(value) for name, value in draw(jax.random.key(4)).items()}
    live = pair["valid"]
    expected = pair["target"][live]  # same exposure, no noise: the mean of the input
    z = (pair["counts"][live] - expected) / np.sqrt(expected)
    assert np.mean(z) == pytest.approx(0.0, abs=4 / np.sqrt(z.size))
    assert np.var(z) == pytest.approx(1.0, abs=0.03)
    assert (expected >= pair["background"][live] * 0.999).all()


def test_columns_beside_gaps_are_weak_in_the_physical_detector():
    # A flat field through the detector: the profile over the columns is the measured response.
    grid = optics("physical", 1).counts
    flat = np.asarray(
        observe.detect(np.ones((411, 403), np.float32), grid, PN, PRESETS["physical"])
    )
    live = detector.mask(PN)
    upper = flat[250:340].mean(axis=0) / flat[250:340, 100:110].mean()
    assert upper[67] == pytest.approx(0.11, abs=0.05)
    assert upper[274] == pytest.approx(0.75, abs=0.05)
    assert upper[150] == pytest.approx(1.0, abs=0.05)
    assert not flat[~live].any()
    sharp = np.asarray(
        observe.detect(np.ones((411, 403), np.float32), grid, PN, PRESETS["reference"])
    )
    np.testing.assert_array_equal(sharp, live)


def test_nested_targets_contain_the_input():
    options = {"target_kind": "observed", "pairing": "nested", "target_exposure_s": 50_000.0}
    draws = [
        pair_function("reference", **DN, **{**options, "pairing": pairing})
        for pairing in ("nested", "disjoint")
    ]
    # Together in one program, so that the sky is compiled once.
    nested, disjoint = jax.jit(lambda key: [draw(key) for draw in draws])(jax.random.key(6))
    assert (np.asarray(nested["target"]) >= np.asarray(nested["counts"])).all()
    assert not (np.asarray(disjoint["target"]) >= np.asarray(disjoint["counts"])).all()
    assert float(disjoint["target_exposure"].max()) == 30_000.0
    total = float(disjoint["target"].sum()) / 30_000.0
    assert total == pytest.approx(float(nested["target"].sum()) / 50_000.0, rel=0.02)


def assert_same_pair(one, other):
    for name, value in one.items():
        value, twin = np.asarray(value, float), np.asarray(other[name], float)
        if name == "counts":  # a rate that differs by 1e-6 may tip single photons
            assert np.mean(value != twin) < 1e-4
        else:
            np.testing.assert_allclose(twin, value, rtol=1e-5, atol=1e-5 * value.max())


def test_a_key_gives_one_pair_alone_and_in_a_batch():
    keys = jax.random.split(jax.random.key(9), 2)
    batch = jax.jit(jax.vmap(pair_function("reference", **SR)))(keys)
    assert_same_pair(sr_draw()(keys[1]), {name: value[1] for name, value in batch.items()})
    assert not np.array_equal(batch["counts"][0], batch["counts"][1])


@pytest.mark.slow
def test_a_key_gives_one_pair_with_and_without_compiling():
    key = jax.random.key(9)
    assert_same_pair(sr_draw()(key), pair_function("reference", **SR)(key))


def test_a_point_source_is_registered_and_keeps_its_light():
    # 1000 count/s on axis: what arrives is its vignetted rate, at the same place on both grids.
    x, y, rate = np.float32([310.3]), np.float32([120.8]), np.float32([1000.0])
    angle = np.hypot(310.3 - 243, 120.8 - 223) * 4 / 60
    seen = 1000.0 / (1 + 0.009877 * angle**1.9634)  # closed form of the vignetting, good to 0.011
    dark = np.zeros((864, 864), np.float32)
    for upscale, grid in ((1, optics("reference", 2).counts), (2, optics("reference", 2).target)):
        image = np.asarray(
            observe.expected_sources(dark, (x, y, rate), grid, PN, PRESETS["reference"], upscale),
            float,
        )
        assert image.sum() == pytest.approx(seen, rel=0.03)
        columns, rows = camera.frame_axes(PN, upscale)
        assert (image * columns[None, :]).sum() / image.sum() == pytest.approx(310.3, abs=0.05)
        assert (image * rows[:, None]).sum() / image.sum() == pytest.approx(120.8, abs=0.05)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({**SR, "preset": "real"}, "preset 'real'"),
        ({**SR, "target_kind": "noisy"}, "noisy"),
        ({**SR, "pairing": "thinned"}, "thinned"),
        ({**SR, "pairing": "nested", "target_kind": "observed"}, "nested"),
        ({**DN, "pairing": "nested"}, "nested"),
        ({**DN, "pairing": "disjoint", "target_exposure_s": 10_000.0}, "target_exposure_s"),
    ],
)
def test_bad_options_are_named(options, word):
    with pytest.raises(InputError, match=word):
        observe.draw_pair(jax.random.key(0), optics("reference", 1), **options)


def test_bad_optics_are_named():
    with pytest.raises(InputError, match="upscale 3"):
        observe.build_optics("physical", upscale=3)
    with pytest.raises(InputError, match="preset 'sixte'"):
        observe.build_optics("sixte", upscale=2)

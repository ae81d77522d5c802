import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.instrument import camera, detector
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import observe, truth
from xmm_jax.simulator.presets import PRESETS
from xmm_jax.simulator.sky import Extended
from xmm_jax.simulator.truth import truth_columns

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


@pytest.mark.slow
def test_the_pair_shows_what_the_catalogue_says():
    # The fields with the brightest points beside their extended source.
    catalogue = jax.jit(functools.partial(observe.draw_truth, preset="reference"))
    drawn = [catalogue(jax.random.key(seed), optics("reference", 2)) for seed in range(12)]
    order = np.argsort([-one.rate[:8].sum() / one.extended_rate for one in drawn])
    lights, shifts = [], []
    for seed in order[:3]:
        pair, table = sr_pair(int(seed)), truth_columns(drawn[seed], PN)
        target, live = pair["target"][..., 0].astype(float), pair["target_valid"][..., 0]
        row, column = np.indices(target.shape)
        places = 2 * np.stack([table["x"], table["y"]], axis=1) + 0.5  # pixels of 2 arcsec
        for i in range(1, min(12, len(places))):
            x, y = places[i]
            gap = np.sort(np.hypot(*(places[1:] - places[i]).T))[1]
            distance = np.hypot(column - x, row - y)
            near, ring = distance <= 8, (distance > 12) & (distance <= 15)
            if gap < 30 or ring.sum() < 250 or not live[distance < 15].all():
                continue
            around = np.median(target[ring])
            light = (target[near] - around).sum()
            if around * near.sum() < 0.1 * light:  # not on the extended source
                lights.append(light / (table["seen_rate"][i] * 1e5))
                shifts.append((target * column)[near].sum() / target[near].sum() - x)
    # 93 % of the light falls within 16 arcsec, less far off axis.
    np.testing.assert_allclose(lights, 0.91, atol=0.06)
    np.testing.assert_allclose(shifts, 0.0, atol=0.3)
    assert len(lights) >= 3


@pytest.mark.slow
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
    # Relative to sound columns, as in images of Abell 426 and M87.
    measured = {
        250: {64: 0.5, 67: 0.11, 182: 0.24, 266: 0.68, 271: 0.20, 274: 0.75, 325: 0.09, 369: 0.52},
        110: {64: 0.51, 92: 0.67, 128: 0.83, 153: 0.14, 202: 0.19, 237: 0.13, 270: 0.85, 337: 0.45},
    }
    for first, columns in measured.items():
        profile = flat[first : first + 90].mean(axis=0)
        profile /= np.median(profile[live[first : first + 90].all(axis=0)])
        for column, expected in (columns | {150 if first == 250 else 105: 1.0}).items():
            assert profile[column] == pytest.approx(expected, abs=0.05), column
    assert not flat[~live].any()
    sharp = np.asarray(
        observe.detect(np.ones((411, 403), np.float32), grid, PN, PRESETS["reference"])
    )
    np.testing.assert_array_equal(sharp, live)


def even_sky(key, camera, preset, vignetting, maps=None):
    """A quick sky, for what happens to the light afterwards."""
    zero = jnp.float32(0.0)
    return jnp.full(vignetting.shape, 1e-6), Extended(zero, zero, zero, zero, jnp.int32(0))


@pytest.mark.slow
def test_nested_targets_contain_the_input(monkeypatch):
    monkeypatch.setattr(truth, "draw_extended", even_sky)
    options = {**DN, "target_exposure_s": 50_000.0}
    draws = [
        pair_function("reference", **options, target_kind="observed", pairing=pairing)
        for pairing in ("nested", "disjoint", "simulated")
    ]
    draws.append(pair_function("reference", **options))
    # Together in one program, so that the sky is compiled once.
    pairs = jax.jit(lambda key: [draw(key) for draw in draws])(jax.random.key(6))
    nested, disjoint, independent, expected = pairs
    assert (np.asarray(nested["target"]) >= np.asarray(nested["counts"])).all()
    assert not (np.asarray(disjoint["target"]) >= np.asarray(disjoint["counts"])).all()
    assert float(disjoint["target_exposure"].max()) == 30_000.0
    total = float(disjoint["target"].sum()) / 30_000.0
    assert total == pytest.approx(float(nested["target"].sum()) / 50_000.0, rel=0.02)
    # Photons of 20 ks in 50 ks: sqrt(20 / 50) of the noise is shared, else none.
    live, mean = np.asarray(expected["valid"]), np.asarray(expected["target"])
    for pair, exposure_s, shared_noise in (
        (nested, 50_000, 0.632),
        (disjoint, 30_000, 0.0),
        (independent, 50_000, 0.0),
    ):
        images = ((pair["counts"], 20_000), (pair["target"], exposure_s))
        noise = [(np.asarray(one) - mean * t / 50_000)[live] for one, t in images]
        assert np.corrcoef(noise)[0, 1] == pytest.approx(shared_noise, abs=0.02)


@pytest.mark.parametrize("exposure_s", [999.0, 1.1e6, np.nan, np.array([2e4, 10.0])])
def test_exposures_nobody_observes_with_are_refused(exposure_s):
    with pytest.raises(InputError, match="1 to 1000 ks"):
        observe.check_exposure(exposure_s)
    for field in ("exposure_s", "target_exposure_s"):
        with pytest.raises(InputError, match="1 to 1000 ks"):
            observe.draw_pair(
                jax.random.key(0), optics("reference", 1), **DN, **{field: exposure_s}
            )


def test_exposures_at_the_ends_of_the_range_pass():
    for exposure_s in (1e3, 1e6, np.array([1e3, 1e6])):
        observe.check_exposure(exposure_s)
    jax.eval_shape(lambda t: observe.check_exposure(t), 1.0)  # not known when compiled


def assert_same_pair(one, other):
    for name, value in one.items():
        value, twin = np.asarray(value, float), np.asarray(other[name], float)
        if name == "counts":  # a rate that differs by 1e-6 may tip single photons
            assert np.mean(value != twin) < 1e-4
        else:
            np.testing.assert_allclose(twin, value, rtol=1e-5, atol=1e-5 * value.max())


@pytest.mark.slow
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

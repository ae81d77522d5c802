import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from xmm_jax.errors import InputError
from xmm_jax.instrument import detector
from xmm_jax.instrument.camera import PN
from xmm_jax.simulator import observe, truth
from xmm_jax.simulator.sky import Extended
from xmm_jax.simulator.variations import AS_BUILT, VARIED, Variations, draw_detector

NUMBER = 150
MASK, RESPONSE = detector.mask(PN), detector.pixel_response(PN)


@functools.cache
def detectors(variations, soft=True, number=NUMBER):
    draw = jax.vmap(lambda key: draw_detector(key, PN, variations, soft=soft))
    return [np.asarray(one) for one in jax.jit(draw)(jax.random.split(jax.random.key(1), number))]


@pytest.mark.parametrize("soft", [True, False])
def test_without_variations_the_detector_is_that_of_the_preset(soft):
    live, response, share = detectors(AS_BUILT, soft, 1)
    np.testing.assert_array_equal(live[0], MASK)
    np.testing.assert_array_equal(response[0], RESPONSE if soft else np.ones_like(RESPONSE))
    assert (share == 1).all()


def test_kinds_of_detector_are_equally_likely():
    live, response, _ = detectors(Variations(detectors=("sharp", "soft", "dead")))
    sharp = (response == 1).all(axis=(1, 2))
    dead = ~live[:, 300, 67]  # a column of response 0.11
    assert not (sharp & dead).any()
    for share in (sharp.mean(), dead.mean()):
        assert share == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / NUMBER))
    assert live[:, 300, 274][MASK[300, 274]].all()  # 0.75: weak, never masked
    np.testing.assert_array_equal(live[~dead], np.broadcast_to(MASK, live[~dead].shape))


def test_bad_half_columns_and_pixels_are_added():
    live, _, _ = detectors(Variations(bad_columns=4))
    number = []
    for one in live:
        lost = MASK & ~one
        halves = [lost[:204], lost[206:]]
        columns = [np.flatnonzero(half.any(axis=0)) for half in halves]
        number.append(sum(map(len, columns)))
        for half, whole, bad in zip(halves, (MASK[:204], MASK[206:]), columns, strict=True):
            np.testing.assert_array_equal(half[:, bad], whole[:, bad])
    # 0 to 4 with equal odds; one in nine falls on a column that is dead anyway.
    assert max(number) == 4
    assert np.mean(number) == pytest.approx(2 * (1 - 0.1), abs=0.3)
    assert np.mean(np.equal(number, 0)) == pytest.approx(0.23, abs=0.1)

    live, _, _ = detectors(Variations(bad_pixels=20))
    lost = (MASK & ~live).sum(axis=(1, 2))
    assert lost.max() <= 20
    assert lost.mean() == pytest.approx(10 * MASK.mean(), abs=4 * 6.1 / np.sqrt(300))


def test_every_ccd_has_its_own_exposure():
    _, _, share = detectors(Variations(ccd_exposure=0.1))
    assert share.min() >= 0.9
    number = detector.ccd_number(PN)
    assert list(np.unique(number)) == list(range(12))
    for ccd in range(12):
        inside = share[:, number == ccd]
        np.testing.assert_array_equal(inside.min(axis=1), inside.max(axis=1))
        assert inside[:, 0].mean() == pytest.approx(0.95, abs=4 * 0.1 / np.sqrt(12 * NUMBER))


def test_ccds_are_what_the_gaps_part():
    # Close the bad columns and pixels: what is left in one piece is a CCD, 64 columns of 4.129".
    number = detector.ccd_number(PN)
    for ccd in range(12):
        columns = np.flatnonzero((number == ccd).any(axis=0) & MASK.any(axis=0))
        live = np.flatnonzero((MASK & (number == ccd)).any(axis=0))
        assert len(live) <= 67
        assert live.min() >= columns.min()
    solid = ndimage.binary_closing(MASK, np.ones((5, 1)))
    gaps = ~solid[100:300].any(axis=0)
    edges = np.flatnonzero(np.diff(number[300]))
    assert len(edges) == 5
    assert all(gaps[edge] or gaps[edge + 1] for edge in edges)


def even_sky(key, camera, preset, vignetting, maps=None):
    """A quick sky."""
    zero = jnp.float32(0.0)
    return jnp.full(vignetting.shape, 1e-6), Extended(zero, zero, zero, zero, jnp.int32(0))


@pytest.mark.slow
def test_a_pair_with_everything_varied(monkeypatch):
    monkeypatch.setattr(truth, "draw_extended", even_sky)
    optics = observe.build_optics("physical", upscale=2)
    options = {"upscale": 2, "target_background": False, "variations": VARIED}
    draw = jax.jit(lambda key, optics: observe.draw_pair(key, optics, **options))
    pair = {k: np.asarray(v)[..., 0] for k, v in draw(jax.random.key(5), optics).items()}
    assert (pair["valid"] < MASK).any()
    assert not (pair["valid"] > MASK).any()
    np.testing.assert_array_equal(pair["target_valid"][1::2, ::2], pair["valid"])
    np.testing.assert_array_equal(pair["exposure"] > 0, pair["valid"])
    exposures = np.unique(pair["exposure"][pair["valid"]])
    assert len(exposures) == 12
    assert exposures.min() >= 0.97 * 20_000
    assert set(np.unique(pair["target_exposure"])) == {0.0, 100_000.0}
    for field, valid in (("counts", "valid"), ("background", "valid"), ("target", "target_valid")):
        assert not pair[field][~pair[valid]].any()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"detectors": ("broken",)}, "broken"),
        ({"bad_columns": -1}, "bad_columns"),
        ({"ccd_exposure": 1.0}, "ccd_exposure"),
        ({"blends": 1.5}, "blends"),
    ],
)
def test_variations_out_of_range_are_named(options, word):
    with pytest.raises(InputError, match=word):
        Variations(**options)

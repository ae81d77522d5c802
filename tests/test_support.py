"""What is said of invented, real and erased sources of a field that is known."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import poisson

from xmm_jax.backprojection import conserve
from xmm_jax.instrument import psf
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask
from xmm_jax.simulator.presets import find_preset
from xmm_jax.support import (
    DQ_ERASED,
    DQ_UNSUPPORTED,
    check_support,
    dq_bits,
    to_table,
    unsupported_share,
    verdicts,
)

EXPOSURE_S, BACKGROUND = 20_000.0, 1e-5
REAL, INVENTED, LOST = (150.0, 300.0), (300.5, 120.0), (90.0, 130.0)
COUNTS = 150.0


def point(place, upscale=1):
    """A source of `COUNTS` in all, on the grid of the image."""
    preset = find_preset("physical")
    x, y = (jnp.asarray([axis]) for axis in place)
    stamp = psf.stamps(
        PN, x, y, upscale, half_width=preset.kernel_half_width, core_scale=preset.core_scale
    )
    frame = jnp.zeros([upscale * side for side in PN.shape])
    return np.asarray(psf.add_stamps(frame, *stamp)) * COUNTS / EXPOSURE_S


@functools.cache
def field(upscale):
    """Counts of two sources; the image has one of them and one that is not there."""
    valid = mask(PN)
    exposure = np.where(valid, EXPOSURE_S, 0.0)
    seen = np.where(valid, BACKGROUND + point(REAL) + point(LOST), 0.0)
    counts = np.random.default_rng(3).poisson(seen * exposure)
    rate = point(REAL, upscale) + point(INVENTED, upscale)
    if upscale == 1:
        rate = rate + BACKGROUND
    return rate, counts, exposure, valid


@functools.cache
def support(upscale):
    return check_support(*field(upscale), with_background=upscale == 1)


@pytest.mark.parametrize("upscale", [1, 2])
def test_verdicts_of_a_known_field(upscale):
    found = support(upscale)
    features, erased = found.features, found.erased
    assert len(features["x"]) == 2
    spots = np.column_stack([features["x"], features["y"]])
    real, fake = (int(np.argmin(np.hypot(*(spots - at).T))) for at in (REAL, INVENTED))
    np.testing.assert_allclose(spots[real], REAL, atol=0.3)
    np.testing.assert_allclose(spots[fake], INVENTED, atol=0.3)
    assert features["verdict"][real] == "supported"
    assert features["verdict"][fake] == "unsupported"
    assert unsupported_share(found) == 0.5
    np.testing.assert_allclose(features["counts"], COUNTS, rtol=0.05)
    lost = np.hypot(erased["x"] - LOST[0], erased["y"] - LOST[1]) < 1
    assert lost.sum() == 1
    assert erased["p_value"][lost] < 1e-10
    assert len(erased["x"]) <= 2  # of noise, one in two fields
    row, column = int(LOST[1]), int(LOST[0])
    assert found.residual[row, column] > 10
    assert found.residual[int(INVENTED[1]), int(INVENTED[0])] < -5
    assert abs(found.residual[int(REAL[1]), int(REAL[0])]) < 4


@pytest.mark.parametrize("upscale", [1, 2])
def test_chance_is_the_poisson_tail_of_the_background(upscale):
    _, counts, _, valid = field(upscale)
    features = support(upscale).features
    rows, columns = np.indices(counts.shape)
    for i in range(2):
        cell = valid & (np.hypot(columns - features["x"][i], rows - features["y"][i]) <= 2.5)
        assert features["photons"][i] == counts[cell].sum()
        background = cell.sum() * BACKGROUND * EXPOSURE_S
        assert features["expected_without"][i] == pytest.approx(background, rel=0.15)
        assert features["p_value"][i] == pytest.approx(
            poisson.sf(features["photons"][i] - 1, features["expected_without"][i])
        )


@pytest.mark.parametrize("upscale", [1, 2])
def test_bits_lie_around_what_is_doubtful(upscale):
    bits = dq_bits(support(upscale))
    assert bits.shape == tuple(upscale * side for side in PN.shape)
    row, column = (int((axis + 0.5) * upscale) for axis in reversed(INVENTED))
    assert bits[row, column] == DQ_UNSUPPORTED
    assert bits[row + 3 * upscale + upscale, column] == 0  # 16 arcsec away
    row, column = (int((axis + 0.5) * upscale) for axis in reversed(LOST))
    assert bits[row, column] == DQ_ERASED
    row, column = (int((axis + 0.5) * upscale) for axis in reversed(REAL))
    assert bits[row, column] == 0
    # One circle of 10 arcsec.
    area = np.pi * (10 * upscale / 4) ** 2
    assert np.sum(bits == DQ_UNSUPPORTED) == pytest.approx(area, rel=0.1)


def test_words_for_chances():
    words = verdicts(np.array([0.0, 9e-5, 1e-3, 0.05, 0.06, 1.0]))
    assert list(words) == ["supported"] * 2 + ["weak"] * 2 + ["unsupported"] * 2


def test_image_without_features():
    _, counts, exposure, valid = field(1)
    found = check_support(np.full(PN.shape, BACKGROUND), counts, exposure, valid,
                          with_background=True)  # fmt: skip
    assert len(found.features["x"]) == 0
    assert np.isnan(unsupported_share(found))
    assert len(found.erased["x"]) >= 2
    assert not np.any(dq_bits(found) & DQ_UNSUPPORTED)
    assert set(to_table(found)["verdict"]) == {"erased"}


def test_table_has_units_and_sky(tmp_path):
    from astropy.table import Table
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [50.0, -30.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [201.0, 201.0], [-4 / 3600, 4 / 3600]
    table = to_table(support(1), wcs=wcs)
    table.write(tmp_path / "features.fits")
    back = Table.read(tmp_path / "features.fits")
    assert len(back) == 2 + len(support(1).erased["x"])
    assert str(back["rate"].unit) == "ct / s"
    lost = back[back["verdict"] == "erased"][0]
    # One pixel up is 4 arcsec north.
    assert lost["DEC"] == pytest.approx(-30 + (lost["y"] - 200) * 4 / 3600, abs=2e-4)
    assert np.isnan(table["rate"][-1])
    assert lost["expected_without"] < lost["photons"]


def test_missing_light_is_given_back():
    _, counts, exposure, valid = field(1)
    truth = np.where(valid, BACKGROUND + point(REAL) + point(LOST), 0.0)
    given = counts, exposure, valid
    faint = conserve(0.8 * truth, *given, with_background=True)
    assert faint.steps > 0
    assert faint.expected_before == pytest.approx(0.8 * faint.expected_after, rel=0.05)
    assert faint.expected_after == pytest.approx(counts[valid].sum(), rel=0.02)
    assert abs(faint.after.z) < 3 < abs(faint.before.z)
    assert faint.worst_after < faint.worst_before
    assert np.abs(faint.rate - truth)[valid].mean() < 0.05 * truth[valid].mean()
    assert not faint.rate[~valid].any()


def test_lost_source_comes_back_and_noise_does_not():
    _, counts, exposure, valid = field(1)
    without = np.where(valid, BACKGROUND + point(REAL), 0.0)
    back = conserve(without, counts, exposure, valid, with_background=True)
    rows, columns = np.indices(PN.shape)
    near = np.hypot(columns - LOST[0], rows - LOST[1]) <= 8
    gained = (back.rate - without)[near].sum() * EXPOSURE_S
    assert gained == pytest.approx(COUNTS, rel=0.4)
    far = valid & (np.hypot(columns - LOST[0], rows - LOST[1]) > 60)
    assert np.std((back.rate / np.maximum(without, 1e-9))[far]) < 0.05  # noise: 2.2


def test_image_that_agrees_is_left_alone():
    _, counts, exposure, valid = field(1)
    truth = np.where(valid, BACKGROUND + point(REAL) + point(LOST), 0.0)
    same = conserve(truth, counts, exposure, valid, with_background=True)
    assert same.worst_before < 5
    if same.steps == 0:
        np.testing.assert_allclose(same.rate, truth, rtol=1e-6)
    assert np.abs(same.rate[valid] / truth[valid] - 1).mean() < 0.01

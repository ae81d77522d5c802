"""Figures of stars: catalogues and images whose figures are known beforehand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr

from xmm_jax.data.extraction import Sources
from xmm_jax.errors import InputError
from xmm_jax.metrics.stars import (
    CAVEAT,
    compare_catalogues,
    judge_stars,
    match,
    pixel_divergence,
    pixel_figures,
    relative_flux_error,
)


def catalogue(x, y, flux=None, error=None, background=None):
    x = np.asarray(x, float)
    columns = (
        np.full(len(x), default) if given is None else np.asarray(given, float)
        for given, default in ((flux, 100.0), (error, 3.0), (background, 4.0))
    )
    return Sources(x, np.asarray(y, float), *columns)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 25), st.integers(0, 25), st.floats(0.1, 6))
def test_match_is_that_of_all_distances(seed, number, wanted, radius):
    rng = np.random.default_rng(seed)
    found = catalogue(*rng.uniform(0, 12, (2, number)))
    truth = catalogue(*rng.uniform(0, 12, (2, wanted)))
    partner = match(found, truth, radius=radius)
    apart = np.hypot(truth.x[:, None] - found.x, truth.y[:, None] - found.y)
    assert partner.shape == (wanted,)
    for i in range(wanted):
        expected = -1
        if number:
            j = int(apart[i].argmin())
            if apart[i, j] <= radius and apart[:, j].argmin() == i:
                expected = j
        assert partner[i] == expected
    # The other way around it is the same pairs.
    other = match(truth, found, radius=radius)
    pairs = {(int(i), int(j)) for i, j in enumerate(partner) if j >= 0}
    assert pairs == {(int(i), int(j)) for j, i in enumerate(other) if i >= 0}


def test_the_radius_is_inclusive():
    found, truth = catalogue([2.0], [0.0]), catalogue([0.0], [0.0])
    assert match(found, truth, radius=2.0).tolist() == [0]
    assert match(found, truth, radius=1.999).tolist() == [-1]


def test_relative_flux_error_by_hand():
    mean, error = relative_flux_error(np.asarray([90.0, 104.0, 5.0]), np.asarray([100, 100, 0.0]))
    assert mean == pytest.approx(7.0)  # of 10 % and 4 %
    assert error == pytest.approx(np.sqrt(18) / np.sqrt(2))
    one = relative_flux_error(np.asarray([90.0]), np.asarray([100.0]))
    assert one[0] == pytest.approx(10)
    assert math.isnan(one[1])
    assert all(math.isnan(x) for x in relative_flux_error(np.zeros(0), np.zeros(0)))


def test_figures_of_catalogues_by_hand():
    places = [10, 30, 50, 70, 90]
    truth = catalogue(places, places, [100, 200, 300, 400, 500])
    # Sees the two brightest, and one star that is not there.
    faint = catalogue([70.5, 90, 20], [70, 90.5, 80], [440, 500, 50], [8, 6, 3], [6, 8, 4])
    # Sees all but the faintest, in another order.
    deep = catalogue([90, 70, 50, 30], [90, 70, 50, 30], [475, 400, 330, 200], [3] * 4, [4] * 4)
    rows = compare_catalogues({"input": faint, "prediction": deep}, truth)
    row, other = rows["input"], rows["prediction"]
    assert (row["stars"], row["TPR"], other["TPR"]) == (3, 40, 80)
    assert (row["precision"], other["precision"]) == (pytest.approx(2 / 3), 1)
    for one, recall in ((row, 0.4), (other, 0.8)):  # equation 24
        expected = 2 * one["precision"] * recall / (one["precision"] + recall)
        assert one["F"] == pytest.approx(expected)
    assert row["RFE"] == row["RFE_common"] == pytest.approx((10 + 0) / 2)
    assert other["RFE"] == pytest.approx((5 + 0 + 10 + 0) / 4)
    assert other["RFE_common"] == pytest.approx((5 + 0) / 2)
    assert row["common"] == other["common"] == 2
    assert other["RFE_common_err"] == pytest.approx(5 / np.sqrt(2) / np.sqrt(2))
    assert row["SNR"] == pytest.approx((44 + 50 + 10) / 3)
    assert other["SNR"] == pytest.approx((95 + 80 + 66 + 40) / 4)
    assert row["SNR_f"] == row["SNR_f_common"] == 1
    assert other["SNR_f"] == pytest.approx(other["SNR"] / row["SNR"])
    assert other["SNR_f_common"] == pytest.approx((95 + 80) / (44 + 50))


def test_nothing_found_is_no_error():
    none, some = catalogue([], []), catalogue([5, 9], [5, 9])
    row = compare_catalogues({"input": none}, some)["input"]
    assert (row["TPR"], row["F"], row["stars"], row["common"]) == (0, 0, 0, 0)
    for name in ("precision", "RFE", "RFE_err", "RFE_common", "SNR", "SNR_f", "SNR_f_common"):
        assert math.isnan(row[name])
    row = compare_catalogues({"input": some}, none)["input"]
    assert math.isnan(row["TPR"])
    assert row["precision"] == row["F"] == 0


def test_the_reference_must_be_there():
    with pytest.raises(InputError, match="'input'; there are prediction"):
        compare_catalogues({"prediction": catalogue([], [])}, catalogue([], []))


def test_psnr_and_ssim_against_skimage():
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    target = rng.gamma(2.0, 50.0, (60, 70))
    image = target + rng.normal(0, 20, target.shape)
    row = pixel_figures(image, target)
    peak = target.max()
    psnr = metrics.peak_signal_noise_ratio(target, image, data_range=peak)
    assert row["PSNR"] == pytest.approx(psnr, rel=1e-6)
    # 13 taps of sigma 2.5: truncated at 6 pixels; the border of 6 pixels is left out.
    settings = {"gaussian_weights": True, "sigma": 2.5, "truncate": 2.4, "K1": 0.01, "K2": 0.05}
    similarity = metrics.structural_similarity(
        target, image, data_range=peak, use_sample_covariance=False, **settings
    )
    assert row["SSIM"] == pytest.approx(similarity, rel=1e-4)
    # Units do not matter.
    other = pixel_figures(7 * image, 7 * target)
    for name in ("PSNR", "SSIM", "KL"):
        assert other[name] == pytest.approx(row[name], rel=1e-3)


def test_pixels_that_are_not_valid_do_not_count():
    rng = np.random.default_rng(1)
    target = rng.gamma(2.0, 50.0, (40, 40))
    image, valid = target + rng.normal(0, 5, target.shape), np.ones(target.shape, bool)
    valid[:, 30:] = False
    broken = np.where(valid, image, np.nan)
    row, other = pixel_figures(broken, target, valid), pixel_figures(image, target)
    cut = pixel_figures(image[:, :30], target[:, :30])
    assert row["KL"] == pytest.approx(cut["KL"])
    assert row["PSNR"] == pytest.approx(cut["PSNR"])
    assert 0 < row["SSIM"] < 1
    assert row["PSNR"] != other["PSNR"]


def test_limits_of_pixel_figures():
    target = np.random.default_rng(2).gamma(2.0, 50.0, (20, 20))
    row = pixel_figures(target, target)
    assert row["PSNR"] == math.inf
    assert row["SSIM"] == pytest.approx(1, abs=1e-6)
    assert row["KL"] == 0
    blank = pixel_figures(target, 0 * target)
    assert math.isnan(blank["PSNR"])
    assert math.isnan(blank["SSIM"])
    with pytest.raises(InputError, match="expected one shape"):
        pixel_figures(target, target[:-1])
    # What the caveat says: -16 dB is an error of 6.3 times the largest value.
    far = pixel_figures(target + 10 ** (16 / 20) * target.max(), target)
    assert far["PSNR"] == pytest.approx(-16)
    assert any("6.3" in line for line in CAVEAT)


def test_divergence_of_pixels_against_numpy_and_scipy():
    rng = np.random.default_rng(3)
    target, image = rng.normal(5, 1, 20_000), rng.normal(5.1, 1.2, 20_000)
    low, high = np.percentile(target, (0.1, 99.9))
    edges = np.concatenate([[-np.inf], np.linspace(low, high, 101), [np.inf]])
    p, q = (np.histogram(x, edges)[0] + 0.5 for x in (target, image))
    expected = rel_entr(p / p.sum(), q / q.sum()).sum()
    assert pixel_divergence(image, target) == pytest.approx(expected, rel=1e-9)
    # Closed form for two normal laws: what bins leave out is small.
    exact = np.log(1.2) + (1 + 0.1**2) / (2 * 1.2**2) - 0.5
    assert pixel_divergence(image, target) == pytest.approx(exact, rel=0.25)
    assert math.isnan(pixel_divergence(np.zeros(0), np.zeros(0)))
    assert pixel_divergence(np.full(9, 2.0), np.full(9, 2.0)) == 0


def stars_on_a_sky(seed, noise, stars=42):
    """Target of 2 pixel wide stars, of which the fainter half drowns in the noise."""
    y, x = np.mgrid[:200, :230]
    image = np.full(y.shape, 30.0)
    places = [(px, py) for px in range(20, 220, 32) for py in range(20, 190, 32)][:stars]
    for flux, (px, py) in zip(np.geomspace(1500, 60000, len(places)), places, strict=True):
        image += flux * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 5.0) / (5.0 * np.pi)
    return (image + noise * np.random.default_rng(seed).standard_normal(image.shape)).astype("f4")


def test_better_images_are_judged_better():
    pytest.importorskip("sep")
    target = stars_on_a_sky(0, 1.0)
    images = {name: stars_on_a_sky(1, noise) for name, noise in (("input", 12.0), ("out", 2.0))}
    rows = judge_stars(images, target, gain=1.0)
    worse, better = rows["input"], rows["out"]
    assert rows["target"]["stars"] == 42
    assert better["TPR"] > 95 > worse["TPR"]
    assert better["F"] > worse["F"]
    assert 0 < worse["common"] < 42
    assert better["RFE_common"] < worse["RFE_common"]
    assert better["SNR_f_common"] > 1
    assert better["KL"] < worse["KL"]
    assert better["PSNR"] > worse["PSNR"]
    assert better["SSIM"] > worse["SSIM"]
    assert worse["SNR_f"] == worse["SNR_f_common"] == 1


def test_the_target_itself_is_perfect():
    pytest.importorskip("sep")
    target = stars_on_a_sky(0, 3.0)
    row = judge_stars({"input": target}, target)["input"]
    assert (row["TPR"], row["precision"], row["F"], row["RFE"]) == (100, 1, 1, 0)
    assert (row["KL"], row["PSNR"]) == (0, math.inf)

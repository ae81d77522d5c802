import math

import numpy as np
import pytest

from xmm_jax.astro_unet.contenders import METHODS, bm3d, gaussian, sky_noise
from xmm_jax.astro_unet.images import draw_image
from xmm_jax.astro_unet.judge import judge_image, short_exposure, summarise, table

pytest.importorskip("sep")


@pytest.fixture(scope="module")
def image():
    return draw_image(4, 256)


def test_short_exposures_are_unbiased_and_as_noisy_as_eq_4(image):
    short = short_exposure(image, 2, noise="live", seed=0)
    live = image.valid
    electrons = image.exposure_s / 2
    level = np.maximum(image.rate + image.sky_rate, 0)[live]
    variance = level / electrons + (7 / 3600 * electrons + 9) / electrons**2
    pulls = (short - image.rate)[live] / np.sqrt(variance)
    assert pulls.mean() == pytest.approx(0, abs=4 / math.sqrt(pulls.size))
    assert pulls.std() == pytest.approx(1, rel=0.03)
    assert np.array_equal(short, short_exposure(image, 2, noise="live", seed=0))


def test_figures_of_one_image(image):
    figures, shown = judge_image(
        image, {n: METHODS[n] for n in ("input", "gaussian")}, 2, noise="live", seed=0
    )
    assert set(figures) == {"input", "gaussian", "target"}
    assert figures["input"]["SNR_f"] == 1
    assert figures["gaussian"]["SNR_f_common"] > 1
    assert set(shown) == {"input", "gaussian", "target"}
    text = table(summarise([figures]), ratio=2)
    assert [line.split()[0] for line in text.splitlines()] == ["ratio", *figures]


def test_the_summary_is_the_mean_over_images_that_have_a_figure():
    rows = [{"a": {"RFE": 1.0, "F": math.nan}}, {"a": {"RFE": 3.0, "F": 0.5}}]
    found = summarise(rows)["a"]
    assert (found["RFE"]["mean"], found["RFE"]["n"]) == (2.0, 2)
    assert found["RFE"]["error"] == pytest.approx(1.0)
    assert (found["F"]["mean"], found["F"]["n"]) == (0.5, 1)


def test_classical_methods_come_nearer_to_the_truth(image):
    part = image._replace(
        rate=image.rate[:128, :128], valid=image.valid[:128, :128], truth=image.truth[:128, :128]
    )
    short = short_exposure(part, 2, noise="live", seed=0)
    before = np.abs(short - part.truth)[part.valid].mean()
    about = {"exposure_s": part.exposure_s / 2, "ratio": 2, "band": 0}
    assert np.abs(gaussian(short, part.valid, **about) - part.truth)[part.valid].mean() < before
    pytest.importorskip("bm3d")
    clean = bm3d(short, part.valid, **about)
    assert np.abs(clean - part.truth)[part.valid].mean() < 0.6 * before


def test_noise_of_the_sky():
    seen = np.random.default_rng(0).normal(3.0, 7.0, 10_000)
    seen[:200] += 1000
    assert sky_noise(seen) == pytest.approx(7.0, rel=0.05)
    assert sky_noise(np.zeros(10)) == 1.0

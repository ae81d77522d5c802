"""Measures of image quality against piq 0.8.0, torchmetrics 1.9.0, scikit-image and scipy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from xmm_jax.errors import InputError
from xmm_jax.losses.ssim import ssim
from xmm_jax.metrics import local
from xmm_jax.metrics.fsim import log_gabor
from xmm_jax.metrics.image import MEASURES, SMALLER_IS_BETTER, compare

# piq 0.8.0 on PyTorch 2.13, (prediction, target) = images(*size) as float32 [1, 1, y, x]:
# fsim(chromatic=False), haarpsi, vif_p, gmsd, multi_scale_gmsd, mdsi; ssim(downsample=False) and
# multi_scale_ssim with kernel_size=13, kernel_sigma=2.5, k1=0.01, k2=0.05.
# The larger images are thinned out by 2 and by 3, and have even and odd sides.
PIQ = {
    (211, 227): {
        "FSIM": 0.7649121284,
        "HaarPSI": 0.7370141745,
        "VIFp": 0.0651503652,
        "GMSD": 0.0410931073,
        "MS_GMSD": 0.0488402247,
        "MDSI": 0.3897301555,
        "SSIM": 0.8386365771,
        "MS_SSIM": 0.9746358395,
    },
    (403, 411): {"FSIM": 0.9142873287, "MDSI": 0.2816545963},
    (822, 806): {"FSIM": 0.9403513074, "MDSI": 0.2281883806},
}
# torchmetrics 1.9.0: structural_similarity_index_measure and multiscale_... of images(304, 336),
# gaussian_kernel=True, sigma=2.5, kernel_size=13, data_range=1.0, k1=0.01, k2=0.05.
TORCHMETRICS = {"SSIM_torchmetrics": 0.8483740091, "MS_SSIM_torchmetrics": 0.9769191742}


def images(height, width):
    """Three sources and a dead strip: prediction with even noise, target with that of counts."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    sky = np.full((height, width), 0.02)
    for column, row, peak, sigma in (
        (0.3, 0.4, 0.9, 4),
        (0.7, 0.25, 0.5, 2),
        (0.55, 0.75, 0.3, 12),
    ):
        distance = (x - column * width) ** 2 + (y - row * height) ** 2
        sky += peak * np.exp(-0.5 * distance / sigma**2)
    sky[:, width // 2 : width // 2 + 3] = 0
    prediction = sky * (0.9 + 0.4 * rng.random(sky.shape))
    noise = 2 * (rng.random((3, *sky.shape)).sum(0) - 1.5)
    target = np.round(40 * sky + np.sqrt(40 * sky) * noise) / 40
    return tuple(np.clip(image, 0, 1).astype(np.float32) for image in (prediction, target))


def figures(prediction, target, names, live=None):
    region = {} if live is None else {"valid": live[None, ..., None], "region": "mask"}
    first, second = (jnp.asarray(x)[None, ..., None] for x in (prediction, target))
    found = compare(first, second, clip_rate=1.0, names=names, **region)
    return {name: float(value[0]) for name, value in found.items()}


@pytest.mark.parametrize("size", PIQ)
def test_against_piq(size):
    found = figures(*images(*size), PIQ[size])
    assert found == {name: pytest.approx(value, rel=2e-5) for name, value in PIQ[size].items()}


def test_convention_of_torchmetrics():
    found = figures(*images(304, 336), TORCHMETRICS)
    assert found == {name: pytest.approx(value, rel=2e-6) for name, value in TORCHMETRICS.items()}


def test_best_for_equal_images_also_where_empty():
    first, _ = images(211, 227)
    names = (*PIQ[211, 227], "L1")
    for image in (first, np.zeros_like(first)):
        for name, value in figures(image, image, names).items():
            best = 0 if name in SMALLER_IS_BETTER else 1
            # The deviation of MDSI is the fourth root of rounding.
            assert value == pytest.approx(best, abs=0.03 if name == "MDSI" else 1e-5), name


def test_each_image_of_a_batch_by_itself():
    pair, names = images(211, 227), ("FSIM", "HaarPSI", "GMSD")
    batch = [jnp.stack([x[::-1], x, 0.5 * x])[..., None] for x in pair]
    together = compare(*batch, clip_rate=1.0, names=names)
    for name in names:
        assert together[name].shape == (3,)
        assert float(together[name][1]) == pytest.approx(PIQ[211, 227][name], rel=2e-5)


def test_pixels_over_live_ones():
    (a, b), live = images(60, 70), np.random.default_rng(2).random((60, 70)) < 0.4
    found = figures(a, b, ("L1", "L2", "PSNR", "Poisson"), live)
    a, b = a[live].astype(float), b[live].astype(float)
    assert found == {
        "L1": pytest.approx(np.abs(a - b).mean(), rel=1e-5),
        "L2": pytest.approx(((a - b) ** 2).mean(), rel=1e-5),
        "PSNR": pytest.approx(-10 * np.log10(((a - b) ** 2).mean() + 1e-8), rel=1e-5),
        "Poisson": pytest.approx((a - b * np.log(a + 1e-8)).mean(), rel=1e-5),
    }


def test_structure_over_live_pixels_against_scikit_image():
    (a, b), live = images(120, 140), np.zeros((120, 140), bool)
    live[20:100, 30:135] = True
    live[50:60] = False
    first, second = a * live, b * live
    _, similarity = structural_similarity(
        first, second, data_range=1.0, gaussian_weights=True, sigma=2.5, K2=0.05,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    inside = slice(9, -9), slice(9, -9)
    expected = similarity[inside][live[inside]].mean()
    pair = (jnp.asarray(x)[None, ..., None] for x in (first, second, live))
    assert float(ssim(*pair, taps=19)[0]) == pytest.approx(expected, rel=1e-5)


def test_gradients_over_live_pixels_against_scipy():
    (a, b), live = images(80, 90), np.zeros((80, 90), bool)
    live[10:70, 21:60] = True
    half = [x.reshape(40, 2, 45, 2).mean((1, 3)) for x in (a * live, b * live, live)]
    steps = [
        np.hypot(*(ndimage.prewitt(x, axis, mode="constant") / 3 for axis in (0, 1)))
        for x in half[:2]
    ]
    constant = 170 / 255**2
    alike = (2 * steps[0] * steps[1] + constant) / (steps[0] ** 2 + steps[1] ** 2 + constant)
    expected = alike[half[2] > 0].std()
    assert figures(a, b, ["GMSD"], live)["GMSD"] == pytest.approx(expected, rel=1e-4)


def test_what_is_not_live_does_not_count():
    truth, _ = images(211, 227)
    live = np.arange(227) < 120 + np.zeros((211, 1))
    spoilt = truth.copy()
    spoilt[:, 121:] = 0.3 * spoilt[:, :-121]
    names = ("L1", "SSIM", "FSIM", "HaarPSI", "VIFp", "GMSD", "MDSI")
    assert figures(spoilt, truth, names, live) == figures(truth, truth, names, live)
    # Differences that are seen from a place, but not of it: images alike where it is live.
    half = spoilt.copy()
    half[:, :200] = truth[:, :200]
    live[:] = np.arange(227) < 100
    kept = [jnp.asarray(x)[None, ..., None] for x in (half, truth, live)]
    for name in ("L1", "SSIM", "HaarPSI", "VIFp", "GMSD", "MDSI"):
        best = 0 if name in SMALLER_IS_BETTER else 1
        assert float(MEASURES[name](*kept)[0]) == pytest.approx(best, abs=0.03), name
        assert abs(float(MEASURES[name](*kept[:2], None)[0]) - best) > 1e-4, name


def test_filters_of_opposite_halves_see_one_half_of_frequencies():
    filters, _ = log_gabor(31, 40)
    opposite = np.roll(filters[:, :, ::-1, ::-1], 1, axis=(2, 3))
    # An odd part that equals the even one in size: responses are complex, their size has no phase.
    assert np.sum(filters * opposite) < 0.02 * np.sum(filters**2)


def test_blocks_of_pixels():
    image = np.random.default_rng(3).random((1, 7, 8)).astype(np.float32)
    np.testing.assert_allclose(local.pool(image, 3)[0, 1, 0], image[0, 3:6, :3].mean(), rtol=1e-6)
    centred = local.pool(image, 3, centred=True)
    assert centred.shape == (1, 3, 3)
    np.testing.assert_allclose(centred[0, 2, 1], image[0, 5:, 2:5].sum() / 9, rtol=1e-6)


def test_impossible_demands():
    image = jnp.zeros((1, 40, 50, 1))
    with pytest.raises(InputError, match="unknown"):
        compare(image, image, clip_rate=1.0, names=["SSIM", "nonsense"])
    with pytest.raises(InputError, match="VIFp needs an image of 41 pixels"):
        compare(image, image, clip_rate=1.0, names=["VIFp"])
    with pytest.raises(InputError, match="MS-SSIM needs an image of 193 pixels"):
        compare(image, image, clip_rate=1.0, names=["MS_SSIM"])
    with pytest.raises(InputError, match="mask together with valid"):
        compare(image, image, clip_rate=1.0, region="mask")

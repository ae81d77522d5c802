import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.instrument import detector
from xmm_jax.instrument.camera import PN


def test_frame_and_live_area():
    live = detector.mask(PN)
    assert live.shape == (411, 403)
    assert live.dtype == bool
    assert live.sum() == pytest.approx(132_399, abs=150)  # of the published mask


def test_fine_mask_repeats_the_native_one():
    live, fine = detector.mask(PN), detector.mask(PN, 2)
    np.testing.assert_array_equal(fine[1::2, ::2], live)
    np.testing.assert_array_equal(fine.reshape(411, 2, 403, 2).all(axis=(1, 3)), live)


def test_halves_have_their_own_columns():
    live = detector.mask(PN)
    assert not live[206:, 180].any()  # dead in the upper half only
    assert live[50:204, 180].any()
    assert not live[:204, 151].any()  # dead in the lower half only
    assert live[206:350, 151].any()


@pytest.mark.reference
@pytest.mark.parametrize("upscale", [1, 2])
def test_overlap_with_the_published_mask(shared, upscale):
    fits = pytest.importorskip("astropy.io.fits")
    name = f"detector_mask/pn_mask_500_2000_detxy_{upscale}x.fits.gz"
    published = fits.getdata(shared / "data" / name) > 0
    live = detector.mask(PN, upscale)
    assert (live & published).sum() / (live | published).sum() >= 0.998


def test_weak_columns_beside_the_gaps():
    response = detector.pixel_response(PN)
    assert response.shape == (411, 403)
    assert response[300, 67] == pytest.approx(0.11)
    assert response[300, 128] == 1.0  # weak in the lower half only
    assert response[100, 128] == pytest.approx(0.83)
    weak = response < 1
    assert not (weak & ~detector.mask(PN))[100:300].all(axis=0).any()  # none is a dead column
    np.testing.assert_array_equal(detector.pixel_response(PN, 2)[::2, 1::2], response)


def test_weak_rows_beside_the_gap():
    share = detector.pixel_response(PN)
    assert share[206, 30] == pytest.approx(0.15)
    assert share[203, 30] == pytest.approx(0.82)
    assert share[206, 67] == pytest.approx(0.15 * 0.11)
    assert share[202, 30] == share[207, 30] == 1.0


def test_smear_stays_in_its_half_column_and_keeps_counts():
    live = np.ones((411, 403), bool)
    rate = jnp.zeros((411, 403)).at[300, 240].set(7.0)
    smeared = np.asarray(detector.smear_out_of_time(PN, rate, live))
    assert smeared.sum() == pytest.approx(7.0, rel=1e-5)
    assert smeared[300, 240] == pytest.approx(7.0 * (1 - 0.063) + 7.0 * 0.063 / 206, rel=1e-5)
    assert np.count_nonzero(smeared) == 206
    assert not smeared[:205].any()
    assert smeared[410, 240] == pytest.approx(7.0 * 0.063 / 206, rel=1e-5)


@pytest.mark.parametrize("upscale", [1, 2])
def test_smear_of_flat_light_on_live_pixels(upscale):
    live = detector.mask(PN, upscale)
    smeared = np.asarray(detector.smear_out_of_time(PN, jnp.ones(live.shape), live))
    # Where light falls on f of a half column, 0.063 f of it comes back to each pixel.
    share = live[: 205 * upscale].mean(axis=0)[100 * upscale]
    assert smeared[50 * upscale, 100 * upscale] == pytest.approx(0.937 + 0.063 * share, rel=1e-5)


def test_dead_pixels_give_no_smear():
    live = np.ones((411, 403), bool)
    live[300, 240] = False
    rate = jnp.zeros((411, 403)).at[300, 240].set(7.0)
    assert np.count_nonzero(np.asarray(detector.smear_out_of_time(PN, rate, live))) == 1


@pytest.mark.reference
@pytest.mark.parametrize(("row", "near"), [(203, (200, 201, 202)), (206, (207, 208, 209))])
def test_weak_rows_of_real_images(shared, row, near):
    fits = pytest.importorskip("astropy.io.fits")
    share, live = detector.pixel_response(PN), detector.mask(PN)
    sound = live[[row, *near]].all(axis=0) & (share[near[0]] == 1)
    files = sorted((shared / "data/real/full").glob("*.fits.gz"))
    images = [fits.getdata(path).astype(float)[:, sound] for path in files]
    # Sources that lie on the gap would weigh too much: the median observation.
    found = np.median([one[row].sum() / one[list(near)].mean(axis=0).sum() for one in images])
    assert found == pytest.approx(share[row, 30], abs=0.04)


@pytest.mark.reference
def test_weak_columns_of_real_images(shared):
    # Perseus, NGC 1399, W49B and NGC 1404: each column over a line through its sound neighbours.
    fits = pytest.importorskip("astropy.io.fits")
    files = sorted((shared / "data/real/full").glob("*.fits.gz"))
    images = [fits.getdata(path).astype(float) for path in files]
    live, response = detector.mask(PN), detector.pixel_response(PN)
    found, table = [], []
    for rows in (slice(40, 200), slice(210, 370)):
        sound = (live[rows].mean(axis=0) > 0.9) & (response[rows].min(axis=0) == 1)
        profiles = [image[rows].sum(axis=0) for image in images]
        for column in np.flatnonzero(response[rows.start] < 1):
            near = np.arange(max(column - 8, 0), column + 9)
            near = near[sound[near]]
            lines = [np.polyval(np.polyfit(near, one[near], 1), column) for one in profiles]
            found.append(np.mean(np.array([one[column] for one in profiles]) / lines))
            table.append(response[rows.start, column])
    difference = np.array(found) - table
    assert difference.mean() == pytest.approx(0.0, abs=0.02)
    assert np.sqrt(np.mean(difference**2)) < 0.05

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.skymaps import read_sky_maps
from xmm_jax.errors import InputError


def test_maps_of_any_kind_and_size_become_one_stack(tmp_path):
    wedge = np.arange(64.0 * 64).reshape(64, 64)
    fits.PrimaryHDU(wedge.astype(np.float32)).writeto(tmp_path / "a.fits.gz")
    np.save(tmp_path / "b.npy", wedge[:32, :32].astype(np.uint16))
    np.save(tmp_path / "c.npy", wedge[:, 16:48])
    (tmp_path / "notes.txt").write_text("not a map")
    maps = read_sky_maps(tmp_path, size=32)
    assert maps.shape == (3, 32, 32)
    assert maps.dtype == np.float16
    blocks = wedge.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(maps[0], blocks / blocks.max() * 1000, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(maps[1], wedge[:32, :32] / wedge[31, 31] * 1000, rtol=2e-3)
    assert not maps[2, :, :8].any()  # padded left and right
    assert not maps[2, :, 24:].any()
    assert maps[2, 1:, 8:24].all()
    assert len(read_sky_maps(tmp_path, size=32, limit=2)) == 2


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((32, 32), np.nan), "NaN"),
        (np.full((32, 32), -1.0), "negative"),
        (np.zeros((32, 32)), "only zeros"),
        (np.ones((4, 40)), "too few"),
        (np.ones((2, 32, 32)), "expected one image"),
        (np.full((32, 32), "x"), "expected one image"),
    ],
)
def test_bad_maps_give_one_line(tmp_path, image, words):
    np.save(tmp_path / "bad.npy", image)
    with pytest.raises(InputError, match=words) as caught:
        read_sky_maps(tmp_path)
    assert "bad.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_folders_and_files_give_one_line(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_sky_maps(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no sky maps"):
        read_sky_maps(tmp_path)
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a readable npy"):
        read_sky_maps(tmp_path)
    (tmp_path / "broken.npy").rename(tmp_path / "broken.fits")
    with pytest.raises(InputError, match="not a readable FITS"):
        read_sky_maps(tmp_path)

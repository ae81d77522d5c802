import shutil

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.fitsfile import read_image
from xmm_jax.data.sixte import coadd, find_components, parse_name, read_component, read_mask
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask

IMG = (
    "TNG300_1_z_99_subhalos_415728_m_proj_r_2048_w_4000_n_0_0_1_gz_p0_0_5ev_p1_2_0ev_sb_23_81_"
    "zoom_1_31_offx_-0_03_offy_-0_03_mult_2_100ks_p_0-0.fits.gz"
)
AGN = "agn_abs_13.9_16370965386202767_p0_0.5ev_p1_2.0ev_mult_1_20ks_p_1-4.fits.gz"
BACKGROUND = "background_mult_1_50ks_16287747535205407.fits"


def test_grammar():
    img, agn, background = (parse_name(name) for name in (IMG, AGN, BACKGROUND))
    assert (img.kind, img.source, img.upscale, img.exposure_ks, img.part) == (
        "img", "TNG300-415728", 2, 100, 0,
    )  # fmt: skip
    assert img.key == IMG.split("_mult_")[0]
    assert (agn.kind, agn.key, agn.source) == ("agn", AGN.split("_mult_")[0], agn.key)
    assert (agn.upscale, agn.exposure_ks, agn.part) == (1, 20, 1)
    assert (background.kind, background.key, background.part) == (
        "background", "16287747535205407", None,
    )  # fmt: skip


def test_one_halo_is_one_source_whatever_the_view():
    views = [IMG, IMG.replace("n_0_0_1", "n_1_0_0"), IMG.replace("zoom_1_31", "zoom_1_76")]
    assert {parse_name(name).source for name in views} == {"TNG300-415728"}
    assert len({parse_name(name).key for name in views}) == 3
    assert parse_name(IMG.replace("TNG300", "TNG50")).source == "TNG50-415728"


@pytest.mark.parametrize("name", ["readme.txt", "0085110101_image_500_2000_51.2ks.fits", "a.fits"])
def test_other_files(name):
    assert parse_name(name) is None


def _write(folder, name, counts, exposure):
    folder.mkdir(parents=True, exist_ok=True)
    header = fits.Header({"EXPOSURE": exposure})
    fits.PrimaryHDU(counts.astype(np.int32), header).writeto(folder / name)


def test_listing(tmp_path):
    folder = tmp_path / "20ks" / "agn" / "1x"
    counts = np.random.default_rng(0).poisson(1, PN.shape)
    for part in (3, 0):
        _write(folder, AGN.replace("p_1-4", f"p_{part}-4"), counts, 20000)
    (folder / "notes.fits").write_text("not ours")
    found = find_components(tmp_path, "agn", exposure_ks=20, upscale=1)
    assert [[component.part for component in parts] for parts in found.values()] == [[0, 3]]
    read, exposure_s = read_component(next(iter(found.values()))[0])
    np.testing.assert_array_equal(read, counts)
    assert exposure_s == 20000
    with pytest.raises(InputError, match=r"50ks.agn.1x: no agn images; expected the published"):
        find_components(tmp_path, "agn", exposure_ks=50, upscale=1)


def test_exposure_must_be_that_of_the_name(tmp_path):
    _write(tmp_path, AGN, np.ones(PN.shape), 37500)
    with pytest.raises(InputError, match="EXPOSURE is 37500 s, the name says 20 ks"):
        read_component(parse_name(tmp_path / AGN))


def test_mask_of_the_folder_or_of_the_camera(tmp_path):
    np.testing.assert_array_equal(read_mask(tmp_path, 2), mask(PN, 2))
    mine = np.random.default_rng(1).integers(0, 2, PN.shape)
    _write(tmp_path / "detector_mask" / "1x", "pn_mask_500_2000_detxy_1x.ds", mine, 1)
    np.testing.assert_array_equal(read_mask(tmp_path, 1), mine > 0)


def test_sum_then_mask():
    images = np.random.default_rng(2).poisson(3, (3, 5, 4))
    live = np.array([1, 0, 1, 1])[None, :] * np.ones((5, 1), int)
    np.testing.assert_array_equal(coadd(images, live), images.sum(0) * live)


@pytest.mark.reference
@pytest.mark.parametrize("folder", ["20ks", "100ks"])
def test_published_combinations(shared, tmp_path, folder):
    """All six published co-additions are the sums of the parts that their headers name."""
    root, sim = tmp_path, shared / "data" / "sim"
    files = {path.name: path for path in sim.glob("*ks/*/*x/*")}
    for upscale in (1, 2):
        (root / "detector_mask" / f"{upscale}x").mkdir(parents=True)
        name = f"pn_mask_500_2000_detxy_{upscale}x.fits.gz"
        shutil.copy(
            shared / "data" / "detector_mask" / name, root / "detector_mask" / f"{upscale}x"
        )
    combined = sorted((sim / "combined" / folder).iterdir())
    assert len(combined) == 3
    for path in combined:
        image = read_image(path)
        names = [
            image.header[key] for key in ("IMG_FILE", "AGN_FILE", "BCK_FILE") if key in image.header
        ]
        components = [parse_name(files[name]) for name in names]
        assert [c.kind for c in components] == ["img", "agn", "background"][: len(names)]
        parts = [read_component(component) for component in components]
        assert {exposure for _, exposure in parts} == {image.header["EXPOSURE"]}
        live = read_mask(root, components[0].upscale)
        np.testing.assert_array_equal(coadd((counts for counts, _ in parts), live), image.data)

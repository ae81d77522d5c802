"""One file: looked at before it is used, told apart from others by model and settings."""

import dataclasses
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax import enhance_file, load_model
from xmm_jax.data.quiet import ONE_AT_A_TIME
from xmm_jax.enhance_file import How, Job, is_there, load, mark_of, write
from xmm_jax.enhancement import answer_alone
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN

FORCED = How(force=True, support=False)


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "Ærø  1.fits"
    hdu = fits.PrimaryHDU(np.random.default_rng(0).poisson(0.5, (50, 60)).astype("i2"))
    hdu.header["EXPOSURE"] = 2e4
    hdu.writeto(path)
    return Job(path, tmp_path / "out.fits")


@pytest.fixture(scope="module")
def model():
    return load_model("dn")


def test_a_file_that_changes_while_it_is_read(job, model, monkeypatch):
    read = enhance_file.read_observation

    def slow(path, **options):
        found = read(path, **options)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
        return found

    assert load(job, model, FORCED).given.counts.shape == (50, 60)
    monkeypatch.setattr(enhance_file, "read_observation", slow)
    with pytest.raises(InputError, match=r"Ærø  1\.fits: changed while it was read"):
        load(job, model, FORCED)


def test_a_file_that_is_gone(job, model):
    job.path.unlink()
    with pytest.raises(InputError, match="no such file"):
        load(job, model, FORCED)


def test_an_image_that_is_too_small(job, model):
    fits.writeto(job.path, np.ones((20, 60)), fits.Header({"EXPOSURE": 2e4}), overwrite=True)
    with pytest.raises(InputError, match=r"Ærø  1\.fits: 20 x 60 pixels are too few"):
        load(job, model, FORCED)


def test_the_folder_of_results_need_not_exist(job, model, tmp_path):
    pytest.importorskip("matplotlib")
    job = Job(job.path, tmp_path / "new" / "folder" / "out.fits")
    how = dataclasses.replace(FORCED, compat=True, preview=True)
    loaded = load(job, model, how)
    write(job, loaded, np.ones((50, 60, 2), np.float32), model, "dn", how)
    names = {path.name for path in job.output.parent.iterdir()}
    assert names == {
        "out.fits",
        "out.png",
        "Ærø  1_input_wcs_DN.fits.gz",
        "Ærø  1_predict_wcs_DN.fits.gz",
    }


def test_one_thread_at_a_time_silences_warnings(job, model, monkeypatch):
    """Whoever does, astropy and matplotlib too: silence is one of the whole process."""
    pytest.importorskip("matplotlib")
    header = fits.getheader(job.path)
    header.update(EXPOSURE=2e4, MJDREF=50814.0, RA_PNT=68.4, DEC_PNT=-13.3, PA_PNT=20.0)
    header["DATE-OBS"], header["DATE-END"] = "2020-03-10T00:51:37", "2020-03-10T22:20:33"
    for axis, zero in ((1, -17719.5), (2, -15079.5)):
        header[f"CTYPE{axis}"], header[f"CRPIX{axis}"] = f"DET{'XY'[axis - 1]}", 1.0
        header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = zero, 80.0
    counts = np.random.default_rng(0).poisson(0.05, PN.shape)
    counts[200:203, 200:203] += 40
    fits.writeto(job.path, counts.astype("i2"), header, overwrite=True)
    how = How(force=True, compat=True, preview=True)
    done, enter = [], warnings.catch_warnings.__enter__

    def spy(self):
        if threading.current_thread() is not threading.main_thread():
            done.append(ONE_AT_A_TIME._is_owned())
        return enter(self)

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(warnings.catch_warnings, "__enter__", spy)
        loaded = pool.submit(load, job, model, how).result()
        said = answer_alone(model, loaded.given, "jax")
        row, _ = pool.submit(write, job, loaded, said, model, "dn", how).result()
        monkeypatch.undo()
    assert row.features > 0
    with fits.open(job.output) as hdus:
        assert {"MJD-OBS", "CD1_1", "CRPIX1L"} < set(hdus["RATE"].header)
        assert len(hdus["SOURCES"].data) == row.features + row.erased
    assert len(done) > 5
    assert all(done)


def test_maps_of_another_file(job, model, tmp_path):
    background = np.full((50, 60), 0.2)
    fits.writeto(tmp_path / "Ærø  1_bkg.fits", background)
    seconds = np.full((50, 60), 1e4)
    seconds[:, :7] = 0
    fits.writeto(tmp_path / "exposure.fits", seconds)
    how = dataclasses.replace(
        FORCED, background="{folder}/{stem}_bkg.fits", exposure="{folder}/exposure.fits"
    )
    given = load(job, model, how).given
    assert set(np.unique(given.exposure)) == {0.0, 1e4}
    np.testing.assert_allclose(given.background[:, 7:], 0.2)
    assert not given.background[:, :7].any()
    fits.writeto(tmp_path / "Ærø  1_bkg.fits", background[1:], overwrite=True)
    with pytest.raises(InputError, match=r"Ærø  1\.fits: background .*expected the shape"):
        load(job, model, how)


def test_results_of_other_settings_or_weights_are_not_ours(job, model):
    mark = mark_of(model, FORCED)
    other = dataclasses.replace(model, symmetric=not model.symmetric)
    assert len({mark, mark_of(model, How()), mark_of(other, FORCED)}) == 3
    assert mark == mark_of(load_model("dn"), FORCED)
    assert not is_there(job, mark)
    fits.writeto(job.output, np.ones((3, 3)), fits.Header({"XMMMARK": mark}))
    assert is_there(job, mark)
    assert not is_there(job, mark_of(other, FORCED))
    later = job.output.stat().st_mtime + 5
    os.utime(job.path, (later, later))
    assert not is_there(job, mark)

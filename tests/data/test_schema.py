import re

import numpy as np
import pytest

from xmm_jax.data.schema import FIELDS, IMAGES, check, frame_of, shape_of
from xmm_jax.errors import InputError


@pytest.mark.parametrize("upscale", [1, 2])
@pytest.mark.parametrize("background", [False, True])
def test_accepts_a_good_sample(make_sample, upscale, background):
    check(make_sample(upscale=upscale, background=background))


def test_accepts_plain_python_numbers(make_sample):
    check(make_sample(seed=3, pixel_arcsec=4.0, band_kev=(0.5, 2)))


def test_sample_of_the_tests_is_the_table(make_sample):
    assert set(make_sample(background=True)) == set(FIELDS)
    assert {name for name, field in FIELDS.items() if field.optional} == {"background"}
    assert set(IMAGES) == {
        *("counts", "exposure", "valid", "background"),
        *("target", "target_exposure", "target_valid"),
    }


def test_shapes():
    assert shape_of("counts", frame=(411, 403), upscale=2) == (411, 403, 1)
    assert shape_of("target", frame=(411, 403), upscale=2) == (822, 806, 1)
    assert shape_of("band_kev", frame=(411, 403), upscale=2) == (2,)
    assert shape_of("seed", frame=(411, 403), upscale=2) == ()


def test_frame(make_sample):
    assert frame_of(make_sample(frame=(12, 10), upscale=2)) == ((12, 10), 2)
    assert frame_of(make_sample(frame=(12, 10), upscale=1)) == ((12, 10), 1)


def _pixel(array, value):
    array = array.copy()
    array[3, 1] = value
    return array


FAULTS = {
    "lacks valid": lambda s: s.pop("valid"),
    "unknown fields rate": lambda s: s.update(rate=s["target"]),
    "counts has shape (12, 10), expected (y, x, 1)": lambda s: s.update(counts=s["counts"][..., 0]),
    "target has shape (24, 18, 1), expected (24, 20, 1)": lambda s: s.update(
        target=s["target"][:, :-2]
    ),
    "target has shape (25, 20, 1), expected (24, 20, 1)": lambda s: s.update(
        target=np.ones((25, 20, 1), np.float32)
    ),
    "exposure has shape (1,), expected (12, 10, 1)": lambda s: s.update(
        exposure=np.ones(1, np.float32)
    ),
    "counts is int64, expected int32": lambda s: s.update(counts=s["counts"].astype(np.int64)),
    "counts is float32, expected int32": lambda s: s.update(counts=s["counts"].astype(np.float32)),
    "valid is uint8, expected bool": lambda s: s.update(valid=s["valid"].astype(np.uint8)),
    "target is float64, expected float32": lambda s: s.update(
        target=s["target"].astype(np.float64)
    ),
    "seed is float64, expected int64": lambda s: s.update(seed=1.5),
    "band_kev has shape (), expected (2,)": lambda s: s.update(band_kev=1.0),
    "obs_id is 506260401, expected text": lambda s: s.update(obs_id=506260401),
    "camera is '', expected text": lambda s: s.update(camera=""),
    "counts has negative": lambda s: s.update(counts=_pixel(s["counts"], -1)),
    "exposure has negative or non-finite": lambda s: s.update(
        exposure=_pixel(s["exposure"], np.nan)
    ),
    "target has negative or non-finite": lambda s: s.update(target=_pixel(s["target"], np.inf)),
    "valid is False everywhere": lambda s: s.update(valid=np.zeros_like(s["valid"])),
    "valid is True where exposure is 0": lambda s: s.update(valid=np.ones_like(s["valid"])),
    "target_valid is True where target_exposure is 0": lambda s: s.update(
        target_valid=np.ones_like(s["target_valid"])
    ),
    "pairing is 'random', expected one of nested": lambda s: s.update(pairing="random"),
    "target_kind is 'model', expected one of expected": lambda s: s.update(target_kind="model"),
    "band_kev is 2 to 0.5": lambda s: s.update(band_kev=np.array([2, 0.5])),
    "pixel_arcsec is nan": lambda s: s.update(pixel_arcsec=np.nan),
}


@pytest.mark.parametrize("message", FAULTS)
def test_refuses(make_sample, message):
    sample = make_sample(7)
    FAULTS[message](sample)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        check(sample)
    assert "source-7, observation" in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_at_all():
    with pytest.raises(InputError, match="lacks band_kev, camera"):
        check({})

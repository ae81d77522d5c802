import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.data.pairs import crop_frame, low_side, make_sample, pad_frame, pad_sample
from xmm_jax.data.schema import check
from xmm_jax.errors import InputError

ROWS, COLUMNS = 411, 403


def _sample(upscale, **changes):
    rng = np.random.default_rng(5)
    shape, fine = (ROWS, COLUMNS), (upscale * ROWS, upscale * COLUMNS)
    exposure = rng.uniform(1e3, 2e4, shape)
    exposure[:, 65:67] = 0
    return make_sample(
        **{
            "counts": rng.poisson(2, shape),
            "exposure": exposure,
            "valid": rng.random(shape) < 0.9,
            "target": rng.poisson(7, fine),
            "target_exposure": 5 * exposure.repeat(upscale, 0).repeat(upscale, 1),
            "target_valid": rng.random(fine) < 0.8,
            "source_id": "field",
            "obs_id": "0123456789",
            "pairing": "simulated",
        }
        | changes
    )


@pytest.mark.parametrize("upscale", [1, 2])
def test_a_sample_keeps_the_contract(upscale):
    sample = _sample(upscale, background=np.ones((ROWS, COLUMNS)), seed=-3)
    check(sample)
    assert sample["target"].shape == (upscale * ROWS, upscale * COLUMNS, 1)
    for name, valid in (("counts", "valid"), ("background", "valid"), ("target", "target_valid")):
        assert (sample[name][~sample[valid]] == 0).all()
        assert sample[name].any()
    assert not sample["valid"][:, 65:67].any()  # no exposure there
    assert sample["seed"] == -3
    check(pad_sample(sample))


# Low and high side of rows and columns: Sweere et al. 2022 as published, and registered.
SIDES = {
    (1, "reference"): ((2, 3), (6, 7)),
    (1, "aligned"): ((2, 3), (6, 7)),
    (2, "reference"): ((5, 5), (13, 13)),
    (2, "aligned"): ((4, 6), (12, 14)),
}


@pytest.mark.parametrize(("case", "sides"), SIDES.items())
def test_sides(case, sides):
    upscale, padding = case
    image = np.random.default_rng(0).random((upscale * ROWS, upscale * COLUMNS))
    padded = pad_frame(image, upscale, padding=padding)
    np.testing.assert_array_equal(padded, np.pad(image, sides))
    assert padded.shape == (upscale * 416, upscale * 416)
    assert low_side(upscale, padding=padding) == (sides[1][0], sides[0][0])
    np.testing.assert_array_equal(crop_frame(padded, upscale, padding=padding), image)


@given(x=st.integers(0, COLUMNS - 1), y=st.integers(0, ROWS - 1), upscale=st.integers(1, 4))
def test_aligned_padding_keeps_the_grids_registered(x, y, upscale):
    native = np.zeros((ROWS, COLUMNS), np.int32)
    native[y, x] = 1
    padded = pad_frame(native, 1)
    fine = pad_frame(native.repeat(upscale, 0).repeat(upscale, 1), upscale)
    rebinned = fine.reshape(416, upscale, 416, upscale).sum((1, 3))
    np.testing.assert_array_equal(rebinned, upscale**2 * padded)


def test_reference_padding_is_one_fine_pixel_off():
    frame = np.zeros((2 * ROWS, 2 * COLUMNS), np.int32)
    frame[300, 200] = 1
    shift = (
        np.argwhere(pad_frame(frame, 2, padding="reference"))[0]
        - np.argwhere(pad_frame(frame, 2))[0]
    )
    assert shift.tolist() == [1, 1]


@pytest.mark.parametrize("lead", [(), (3,)])
def test_channel_and_batch_axes_under_jit(lead):
    image = np.random.default_rng(1).random((*lead, ROWS, COLUMNS, 1)).astype(np.float32)
    padded = jax.jit(lambda array: pad_frame(array, 1))(image)
    assert isinstance(padded, jax.Array)
    assert padded.shape == (*lead, 416, 416, 1)
    np.testing.assert_array_equal(crop_frame(padded, 1), image)
    assert isinstance(pad_frame(image, 1), np.ndarray)


def test_batch_of_samples_on_the_device():
    sample = {k: v for k, v in _sample(2).items() if np.ndim(v) == 3}
    batch = {name: jnp.stack([image, image]) for name, image in sample.items()}
    padded = jax.jit(pad_sample)(batch)
    alone = pad_sample(sample)
    for name, image in alone.items():
        assert padded[name].dtype == image.dtype
        np.testing.assert_array_equal(padded[name][1], image)


def test_padding_is_dead():
    padded = pad_sample(_sample(2))
    for name in ("counts", "exposure", "valid", "target", "target_exposure", "target_valid"):
        upscale = 2 if name.startswith("target") else 1
        inner = crop_frame(padded[name], upscale)
        assert padded[name].sum(dtype=np.float64) == inner.sum(dtype=np.float64)
        assert padded[name].dtype == inner.dtype


def test_errors():
    with pytest.raises(InputError, match="choose one of aligned, reference"):
        pad_frame(np.zeros((ROWS, COLUMNS)), 1, padding="centred")
    with pytest.raises(InputError, match="403 x 411 pixels, expected 411 x 403"):
        pad_frame(np.zeros((COLUMNS, ROWS)), 1)
    with pytest.raises(InputError, match="expected 832 x 832"):
        crop_frame(np.zeros((416, 416)), 2)
    with pytest.raises(InputError, match="expected a whole multiple"):
        pad_sample(_sample(1) | {"target": np.zeros((500, 500, 1), np.float32)})

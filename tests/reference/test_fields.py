"""Input rows of the published tables: our reading, masking, padding and metrics against piq."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.data.fitsfile import read_image
from xmm_jax.data.observation import read_observation
from xmm_jax.data.pairs import make_sample, pad_sample
from xmm_jax.metrics.image import PAPER, compare, upsample_input

pytestmark = pytest.mark.reference

CLIP_RATE = {1: 0.0022336, 2: 0.0005584}  # [count/s/pixel], Sweere et al. 2022, section 2.3
TOLERANCE = {"FSIM": 1e-3, "HaarPSI": 1e-3}
FIELDS = ("TNG100_1_z_99_subhalos_343638", "TNG300_1_z_99_subhalos_415728",
          "TNG50_1_z_99_subhalos_448830")  # fmt: skip


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "golden" / "metrics_fields.json").read_text())


def _mask(shared, upscale):
    name = f"pn_mask_500_2000_detxy_{upscale}x.fits.gz"
    return read_image(shared / "data" / "detector_mask" / name).data > 0


def _figures(sample, *, padding="aligned", stretch="linear"):
    sample = pad_sample(sample, padding=padding)
    rate, target = (
        jnp.asarray(
            np.divide(sample[counts], sample[time], where=sample[valid],
                      out=np.zeros(sample[counts].shape))[None], jnp.float32
        )
        for counts, time, valid in (
            ("counts", "exposure", "valid"),
            ("target", "target_exposure", "target_valid"),
        )
    )  # fmt: skip
    upscale = target.shape[1] // rate.shape[1]
    figures = compare(
        upsample_input(rate, upscale), target,
        clip_rate=CLIP_RATE[upscale], stretch=stretch, names=PAPER,
    )  # fmt: skip
    return {name: float(value[0]) for name, value in figures.items()}


def _agree(figures, expected):
    for name in PAPER:
        assert figures[name] == pytest.approx(expected[name], rel=TOLERANCE.get(name, 1e-4)), name


def test_real_pair(shared, golden):
    """W49B, 20 against 50 ks (nested), one exposure for the whole frame as in the paper."""
    real, mask = shared / "data" / "real", _mask(shared, 1)
    first, second = (
        read_observation(next((real / folder).glob("0724270101*")), mask=mask)
        for folder in ("20ks", "50ks")
    )
    sample = make_sample(
        first.counts, np.full(mask.shape, first.exposure_s), mask,
        second.counts, np.full(mask.shape, second.exposure_s), mask,
        source_id="W49B", obs_id=first.obs_id, pairing="nested",
    )  # fmt: skip
    for stretch in ("linear", "sqrt", "asinh", "log"):
        _agree(_figures(sample, stretch=stretch), golden[f"0724270101_{stretch}"])


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("padding", ["aligned", "reference"])
def test_simulated_pair(shared, golden, field, padding):
    combined = shared / "data" / "sim" / "combined"
    first, second = (
        read_image(next((combined / folder).glob(f"{field}_*"))) for folder in ("20ks", "100ks")
    )
    mask, target_mask = _mask(shared, 1), _mask(shared, 2)
    sample = make_sample(
        first.data, np.full(mask.shape, 20_000), mask,
        second.data, np.full(target_mask.shape, 100_000), target_mask,
        source_id=field, obs_id=field, pairing="simulated",
    )  # fmt: skip
    name = {"aligned": "SR_aligned_", "reference": "SR_ref_"}[padding]
    expected = next(value for key, value in golden.items() if key.startswith(name + field + "_"))
    _agree(_figures(sample, padding=padding), expected)

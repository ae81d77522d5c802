import numpy as np
import pytest
from hypothesis import settings

# The same examples at every run, and no deadline on a machine that is busy.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")


def _sample(number=0, *, frame=(12, 10), upscale=2, background=False, **changes):
    """A small valid pair; its images have no symmetry and no other number gives the same."""
    rng = np.random.default_rng(number)
    y, x = frame
    exposure = rng.uniform(1e3, 2e4, (y, x, 1)).astype(np.float32)
    exposure[:, x // 3] = 0
    target_exposure = 5 * exposure.repeat(upscale, 0).repeat(upscale, 1)
    sample = {
        "counts": rng.poisson(3, (y, x, 1)).astype(np.int32),
        "exposure": exposure,
        "valid": exposure > 2e3,
        "target": rng.gamma(2, 3, (upscale * y, upscale * x, 1)).astype(np.float32),
        "target_exposure": target_exposure,
        "target_valid": target_exposure > 2e4,
        "source_id": f"source-{number}",
        "obs_id": f"{number:010d}",
        "camera": "pn",
        "filter": "thin",
        "pairing": "simulated",
        "target_kind": "expected",
        "band_kev": np.array([0.5, 2.0], np.float32),
        "pixel_arcsec": np.float32(4),
        "seed": np.int64(-number),
    }
    if background:
        sample["background"] = rng.uniform(0, 1, (y, x, 1)).astype(np.float32)
    return sample | changes


@pytest.fixture(scope="session")
def make_sample():
    return _sample


@pytest.fixture
def equal():
    """Whether two samples hold the same fields, types and values."""

    def compare(one, other):
        assert set(one) == set(other)
        for name, value in one.items():
            if isinstance(value, str):
                assert other[name] == value
            else:
                assert np.asarray(other[name]).dtype == np.asarray(value).dtype, name
                np.testing.assert_array_equal(other[name], value, err_msg=name)
        return True

    return compare

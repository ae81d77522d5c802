import numpy as np
from astropy.io import fits

from xmm_jax.data.eligibility import stated_band
from xmm_jax.data.selection import Selection, describe, select


def chunk(**changes):
    n = 8
    rows = {
        "pi_ev": np.array([499, 500, 501, 1999, 2000, 2001, 1000, 1000], np.int32),
        "pattern": np.zeros(n, np.int32),
        "flag": np.zeros(n, np.int32),
        "rawy": np.full(n, 100, np.int32),
    }
    return rows | {name: np.array(values, np.int32) for name, values in changes.items()}


def test_both_ends_of_the_band_are_in():
    np.testing.assert_array_equal(select(chunk(), Selection()), [0, 1, 1, 1, 1, 0, 1, 1])


def test_patterns():
    rows = chunk(pi_ev=[1000] * 8, pattern=[0, 1, 4, 5, 12, 13, 128, 255])
    np.testing.assert_array_equal(select(rows, Selection()), [1, 1, 1, 0, 0, 0, 0, 0])
    mos = Selection(pattern_max=12)
    np.testing.assert_array_equal(select(rows, mos), [1, 1, 1, 1, 1, 0, 0, 0])


def test_flags_with_the_highest_bit_too():
    flags = [0, 0x1, 0x10000, 0x10001, 0x200000, -(2**31), -1, 0]
    rows = chunk(pi_ev=[1000] * 8, flag=flags, rawy=[100] * 7 + [12])
    np.testing.assert_array_equal(select(rows, Selection()), [1, 0, 0, 0, 0, 0, 0, 1])
    corners = Selection(keep_corners=True)
    np.testing.assert_array_equal(select(rows, corners), [1, 0, 1, 1, 0, 0, 1, 0])


def test_the_text_says_the_band():
    header = fits.Header({"SLCTEXPR": describe(Selection(pi_ev=(300, 7500)))})
    assert stated_band(header, "") == (300, 7500)
    assert "FLAG & 0x10000 != 0" in describe(Selection(keep_corners=True))

import dataclasses

import pytest

from xmm_jax.errors import InputError
from xmm_jax.instrument import filters
from xmm_jax.instrument.camera import PN


def test_counts_per_flux_of_real_filters():
    # Thin 6.85e11 and 6.94e11, medium 6.69e11 and 6.77e11 count cm2/erg for two spectra (ecfxa).
    assert filters.transmission(PN, "thin") == 1.0
    for thin, medium in ((6.85, 6.69), (6.94, 6.77)):
        assert filters.transmission(PN, "medium") == pytest.approx(medium / thin, abs=0.001)


def test_unknown_filters_and_cameras_are_named():
    with pytest.raises(InputError, match="'thick' cannot be simulated; choose from thin, medium"):
        filters.transmission(PN, "thick")
    with pytest.raises(InputError, match="'mos7' has no calibration"):
        filters.transmission(dataclasses.replace(PN, name="mos7"), "thin")

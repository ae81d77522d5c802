import jax.numpy as jnp
import numpy as np
import pytest

from xmm_jax.instrument import vignetting
from xmm_jax.instrument.camera import PN


def test_calibration_values_at_nodes_and_between():
    # XRT3_XAREAEF_0012 at 1.25 keV: 0.8839 at 3.6 arcmin, 0.5448 at 9.6, 0.3293 at 15.0.
    angle = jnp.array([0.0, 3.6, 9.6, 15.0, 3.9])
    expected = [1.0, 0.8839, 0.5448, 0.3293, (0.8839 + 0.8535) / 2]
    np.testing.assert_allclose(vignetting.vignetting(PN, angle), expected, atol=1e-3)


def test_close_to_the_compact_fit_everywhere():
    # Independent closed form for the same curve, good to 0.011.
    angle = np.linspace(0, 15.6, 200)
    fit = 1 / (1 + 0.009877 * angle**1.9634)
    np.testing.assert_allclose(vignetting.vignetting(PN, angle), fit, atol=0.0115)


def test_held_beyond_the_table():
    values = vignetting.vignetting(PN, jnp.array([17.4, 18.0, 25.0]))
    assert values == pytest.approx([0.263, 0.263, 0.263])


def test_map_is_centred_on_the_optical_axis():
    x, y = np.arange(403.0), np.arange(411.0)
    image = vignetting.vignetting_map(PN, x, y)
    assert image.shape == (411, 403)
    assert image.dtype == np.float32
    assert np.unravel_index(image.argmax(), image.shape) == (223, 243)
    assert image[223, 243 + 90] == pytest.approx(0.7562, abs=1e-3)  # 6 arcmin
    assert image[223 + 90, 243] == pytest.approx(0.7562, abs=1e-3)

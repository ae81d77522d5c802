"""What a network says becomes rates, errors and quality bits."""

import numpy as np
import pytest

from xmm_jax import enhancement, load_model
from xmm_jax.nddata import as_given


@pytest.mark.parametrize("task", ["sr", "dn"])
def test_rows_turned_into_rates_a_few_at_a_time_are_the_same(task, monkeypatch):
    draw = np.random.default_rng(0)
    model, shape = load_model(task), (411, 403)
    exposure = np.where(draw.random(shape) < 0.9, 2e4, 0)
    given = as_given(draw.poisson(0.5, shape), exposure)
    size = tuple(model.scale.upscale * side for side in shape)
    said = draw.normal(0.7, 0.3, (*size, 2)).astype(np.float32)
    whole = enhancement.finish(model, given, said)
    assert whole.rate.shape == whole.err_lo.shape == whole.err_hi.shape == size
    assert (whole.err_hi > 0).mean() > 0.8
    monkeypatch.setattr(enhancement, "ROWS", 50)
    parts = enhancement.finish(model, given, said)
    for name in ("rate", "err_lo", "err_hi", "dq"):
        one, other = getattr(whole, name), getattr(parts, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, err_msg=name)

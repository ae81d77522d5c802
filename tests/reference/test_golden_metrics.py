"""Figures of PyTorch and piq on synthetic images against ours."""

import json

import numpy as np
import pytest

from xmm_jax.metrics.image import PAPER, compare

pytestmark = pytest.mark.reference


def test_synthetic_images(shared):
    expected = json.loads((shared / "golden" / "metrics_synthetic.json").read_text())
    rng = np.random.default_rng(0)
    x = rng.random((1, 1, 208, 224)).astype(np.float32)
    y = np.clip(x + 0.1 * rng.standard_normal(x.shape), 0, 1).astype(np.float32)
    pair = (image.transpose(0, 2, 3, 1) for image in (x, y))
    for name, value in compare(*pair, clip_rate=1.0, names=PAPER).items():
        assert float(value[0]) == pytest.approx(expected[name], rel=1e-5), name

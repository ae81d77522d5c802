"""Published networks evaluated by PyTorch against ours, from every format of their weights."""

import numpy as np
import pytest

from xmm_jax.models.published import from_state_dict, read_published
from xmm_jax.models.rrdb import RRDB

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("source", ["npz", "ckpt", "onnx"])
@pytest.mark.parametrize(
    ("name", "upscale", "in_channels"), [("sr", 2, 2), ("dn", 1, 2), ("sr_1ch", 2, 1)]
)
def test_output_of_pytorch(shared, name, upscale, in_channels, source):
    path = shared / "golden" / f"published_{name}.{source}"
    with np.load(path.with_suffix(".npz")) as golden:
        arrays = dict(golden)
    if source == "onnx":
        pytest.importorskip("onnx")
    if source == "npz":
        start = "state_dict/"
        settings, params = from_state_dict(
            {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
        )
    else:
        settings, params = read_published(path)
    assert (settings["upscale"], settings["in_channels"]) == (upscale, in_channels)
    inputs = arrays["input"].transpose(0, 2, 3, 1)
    outputs = RRDB(**settings).apply({"params": params}, inputs)
    assert np.abs(np.transpose(outputs, (0, 3, 1, 2)) - arrays["output"]).max() < 1e-5

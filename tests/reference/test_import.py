"""From a published file to a model folder to its outputs, through the command."""

import numpy as np
import pytest

import xmm_jax
from xmm_jax import import_published

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("ending", ["ckpt", "onnx"])
@pytest.mark.parametrize(("name", "task"), [("sr", "sr"), ("dn", "dn"), ("sr_1ch", "sr")])
def test_a_model_folder_gives_the_outputs_of_pytorch(shared, tmp_path, name, task, ending, capsys):
    if ending == "onnx":
        pytest.importorskip("onnx")
    path = shared / "golden" / f"published_{name}.{ending}"
    import_published.main([str(path), f"--out={tmp_path / 'model'}"])
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path / 'model'}: task {task}")
    model = xmm_jax.load_model(tmp_path / "model")
    assert model.task == task
    with np.load(path.with_suffix(".npz")) as golden:
        inputs, expected = golden["input"], golden["output"]
    outputs = np.moveaxis(np.asarray(model.apply(np.moveaxis(inputs, 1, -1))), -1, 1)
    assert np.abs(outputs - expected).max() < 1e-5


def test_bad_files_give_one_line(tmp_path, capsys):
    whole = tmp_path / "weights.ckpt"
    whole.write_bytes(b"PK\x03\x04 torn")
    for argv in ([], [str(tmp_path / "none.ckpt")], [str(whole)], [str(tmp_path)]):
        with pytest.raises(SystemExit) as caught:
            import_published.main([*argv, f"--out={tmp_path / 'model'}"])
        assert caught.value.code == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert all(name in message for name in argv)
    assert not (tmp_path / "model").exists()

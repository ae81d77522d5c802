"""Checkpoints written here in PyTorch's format: read where harmless, refused where not."""

import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.models.torch_zip import read_torch


class Tensor:
    """What torch.save writes of a tensor."""

    def __init__(self, numbers, *, key="0", storage="FloatStorage", offset=0, shape=None,
                 stride=None):  # fmt: skip
        self.numbers, self.key, self.storage, self.offset = numbers, key, storage, offset
        self.shape = np.shape(numbers) if shape is None else shape
        if stride is None:
            steps = np.cumprod((1, *self.shape[:0:-1]))[::-1]
            stride = tuple(int(step) for step in steps[: len(self.shape)])
        self.stride = stride


@pytest.fixture
def torch(monkeypatch):
    """Modules under the names of PyTorch, for a pickle to refer to."""
    fake, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "HalfStorage", "LongStorage", "BoolStorage", "QuantStorage"):
        setattr(fake, name, type(name, (), {"__module__": "torch"}))

    def rebuild(*_arguments):
        raise AssertionError("only named, never called")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = rebuild
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)
    return fake


def save(path, content, torch, *, byteorder="little", leave_out=(), name="archive"):
    """Write what torch.save would."""
    tensors = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Stored):
                tensors[obj.tensor.key] = obj.tensor
                kind = getattr(torch, obj.tensor.storage)
                return ("storage", kind, obj.tensor.key, "cpu", int(np.size(obj.tensor.numbers)))
            return None

        def reducer_override(self, obj):
            if isinstance(obj, Tensor):
                rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
                extra = (False, collections.OrderedDict())
                return rebuild, (Stored(obj), obj.offset, obj.shape, obj.stride, *extra)
            return NotImplemented

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/data.pkl", buffer.getvalue())
        archive.writestr(f"{name}/byteorder", byteorder)
        for key, tensor in tensors.items():
            if key not in leave_out:
                archive.writestr(f"{name}/data/{key}", np.asarray(tensor.numbers).tobytes())
    return path


class Stored:
    def __init__(self, tensor):
        self.tensor = tensor


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_reads_tensors_and_containers(tmp_path, torch):
    values = np.arange(24, dtype="<f4").reshape(2, 3, 4)
    content = {
        "state_dict": collections.OrderedDict(
            whole=Tensor(values),
            turned=Tensor(values, key="1", offset=2, shape=(4, 2), stride=(1, 12)),
            half=Tensor(np.float16([0.5, -3]), key="2", storage="HalfStorage"),
            number=Tensor(np.array(7, "<i8"), key="3", storage="LongStorage"),
            empty=Tensor(np.zeros(0, "<f4"), key="5"),
            flags=Tensor(np.array([True, False]), key="4", storage="BoolStorage"),
        ),
        "epoch": 12,
        "nested": [("a", 1.5), None, {True}],
    }
    read = read_torch(save(tmp_path / "a.ckpt", content, torch))
    state = read["state_dict"]
    np.testing.assert_array_equal(state["whole"], values)
    expected = [[values.ravel()[2 + i + 12 * j] for j in range(2)] for i in range(4)]
    np.testing.assert_array_equal(state["turned"], expected)
    np.testing.assert_array_equal(state["half"], np.float16([0.5, -3]))
    assert state["half"].dtype == np.float16
    assert (state["number"], state["number"].dtype) == (7, np.int64)
    assert state["empty"].shape == (0,)
    np.testing.assert_array_equal(state["flags"], [True, False])
    assert (read["epoch"], read["nested"]) == (12, [("a", 1.5), None, {True}])


def test_reads_either_byte_order(tmp_path, torch):
    values = np.float32([1.5, -2e-3, 7e8])
    path = save(tmp_path / "a.ckpt", {"x": Tensor(values.astype(">f4"))}, torch, byteorder="big")
    np.testing.assert_array_equal(read_torch(path)["x"], values)


def test_objects_of_lightning_and_numpy_are_passed_over(tmp_path, torch, monkeypatch):
    lightning = types.ModuleType("pytorch_lightning.callbacks")
    checkpoint = type("ModelCheckpoint", (dict,), {"__module__": lightning.__name__})
    lightning.ModelCheckpoint = checkpoint
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, lightning.__name__, lightning)
    content = {
        "callbacks": {checkpoint: {"best": np.float64(0.25), "seen": checkpoint(a=1)}},
        "state_dict": {"x": Tensor(np.float32([1, 2]))},
    }
    read = read_torch(save(tmp_path / "a.ckpt", content, torch))
    np.testing.assert_array_equal(read["state_dict"]["x"], [1, 2])


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {}",), "posix.system"),
        (eval, ("open({!r}, 'w')",), "__builtin__.eval"),
        (getattr, ((), "__class__"), "__builtin__.getattr"),
        (os.path.join, ("a", "b"), "posixpath.join"),
        (struct.pack, ("i", 1), "_struct.pack"),
    ],
)
def test_calls_are_refused_and_not_made(tmp_path, torch, function, arguments, named):
    witness = tmp_path / "witness"
    made = [a.format(str(witness)) if isinstance(a, str) else a for a in arguments]
    content = {"state_dict": {"x": Call(function, *made)}}
    path = save(tmp_path / "evil.ckpt", content, torch)
    with pytest.raises(InputError, match=rf"evil\.ckpt: refused: it wants to run {named}"):
        read_torch(path)
    assert not witness.exists()


@pytest.mark.parametrize("name", ["os.system", "sys.modules", "torch.nn.Linear"])
def test_dotted_names_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"refused: it wants to run {name}, which"):
        read_torch(_call(tmp_path / "evil.ckpt", name))


def test_names_in_passed_over_packages_lead_nowhere(tmp_path):
    """Protocol 4 can reach through one module to another: here no name is ever looked up."""
    witness = tmp_path / "witness"
    path = _call(tmp_path / "evil.ckpt", "numpy.os.system", f"touch {witness}")
    assert read_torch(path) == {}
    assert not witness.exists()


def _call(path, name, argument="true"):
    """Checkpoint that calls a function by its dotted name, in pickle protocol 4."""
    module, _, attribute = name.partition(".")
    shown = [b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute, argument)]
    raw = b"\x80\x04" + shown[0] + shown[1] + b"\x93" + shown[2] + b"\x85R."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", raw)
    return path


@pytest.mark.parametrize(
    "tensor",
    [
        {"shape": (5,)},
        {"shape": (2, 2), "stride": (3, 1)},
        {"offset": 2, "shape": (3,)},
        {"offset": -1, "shape": (2,)},
        {"shape": (2,), "stride": (-1,)},
        {"shape": (10**6, 10**6), "stride": (0, 0)},
        {"shape": (-1,)},
        {"shape": (2,), "stride": (1, 1)},
        {"storage": "QuantStorage"},
    ],
)
def test_impossible_tensors_are_refused(tmp_path, torch, tensor):
    content = {"x": Tensor(np.zeros(4, "<f4"), **tensor)}
    path = save(tmp_path / "bad.ckpt", content, torch)
    with pytest.raises(InputError, match=r"bad\.ckpt: ") as caught:
        read_torch(path)
    assert "\n" not in str(caught.value)


def test_missing_numbers_are_an_error(tmp_path, torch):
    content = {"x": Tensor(np.zeros(4, "<f4"), key="9")}
    path = save(tmp_path / "bad.ckpt", content, torch, leave_out=("9",))
    with pytest.raises(InputError, match="data/9"):
        read_torch(path)


def test_truncated_anywhere_is_an_error(tmp_path, torch):
    whole = save(tmp_path / "a.ckpt", {"x": Tensor(np.ones(99, "<f4"))}, torch).read_bytes()
    path = tmp_path / "short.ckpt"
    for size in (0, 3, 10, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"short\.ckpt: "):
            read_torch(path)


def test_damaged_numbers_are_an_error(tmp_path, torch):
    path = save(tmp_path / "a.ckpt", {"x": Tensor(np.float32([1.2345] * 50))}, torch)
    raw = path.read_bytes()
    where = raw.index(np.float32([1.2345] * 2).tobytes())
    path.write_bytes(raw[:where] + b"\x00" + raw[where + 1 :])
    with pytest.raises(InputError, match="CRC"):
        read_torch(path)


def test_the_format_before_the_zip_archive_is_named(tmp_path):
    path = tmp_path / "old.ckpt"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + b"rest")
    with pytest.raises(InputError, match=r"PyTorch before 1\.6"):
        read_torch(path)


def test_other_files_are_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_torch(tmp_path / "none.ckpt")
    other = tmp_path / "other.ckpt"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("letter.txt", "hello")
    with pytest.raises(InputError, match=r"no data\.pkl"):
        read_torch(other)


def test_something_else_than_a_dict_is_refused(tmp_path, torch):
    path = save(tmp_path / "list.ckpt", [1, 2], torch)
    with pytest.raises(InputError, match="holds list"):
        read_torch(path)

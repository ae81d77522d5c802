"""Tensors of a PyTorch checkpoint, without PyTorch and without running anything the file says.

Since PyTorch 1.6 a checkpoint is a zip archive: ``<name>/data.pkl`` describes objects,
``<name>/data/<key>`` hold numbers. A pickle may call any function it names, so only those that
rebuild tensors and plain containers are known here, and any other name is refused.
"""

import collections
import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xmm_jax.errors import InputError

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Packages whose objects stand beside the weights in Lightning checkpoints (state of callbacks,
# figures of merit). They are read as empty objects: nothing of these packages is imported.
_IGNORED = ("pytorch_lightning", "lightning", "lightning_fabric", "numpy")


def read_torch(path: Path) -> dict[str, Any]:
    """Content of a PyTorch checkpoint, tensors as numpy arrays.

    Parameters
    ----------
    path : Path
        File written by ``torch.save`` of PyTorch 1.6 or later.

    Returns
    -------
    dict
        What was saved.

    Raises
    ------
    InputError
        If the file is missing, damaged, in the older format, or names anything but tensors and
        plain containers.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start != b"PK\x03\x04":
            raise InputError(
                f"{path}: not a zip archive; if it is a checkpoint of PyTorch before 1.6, load it "
                "and torch.save it again with a newer PyTorch"
            )
        with zipfile.ZipFile(path) as archive:
            content = _Reader(archive).load()
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the name"
        ) from None
    except Exception as error:
        # A damaged or hostile pickle can fail in any way.
        kind = type(error).__name__
        raise InputError(
            f"{path}: damaged, or not a PyTorch checkpoint ({kind}: {error}); fetch it again"
        ) from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: holds {type(content).__name__}, not a dict; give a published checkpoint"
        )
    return content


class _Reader(pickle.Unpickler):
    """Unpickler that knows tensors and containers."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise InputError("a zip archive, but not a PyTorch checkpoint: it has no data.pkl")
        super().__init__(io.BytesIO(archive.read(pickles[0])))
        self._archive = archive
        self._folder = pickles[0].removesuffix("data.pkl")
        order = f"{self._folder}byteorder"
        self._big = order in archive.namelist() and archive.read(order) == b"big"
        self._numbers: dict[str, np.ndarray] = {}

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "torch" and global_name in _STORAGES:
            return _STORAGES[global_name]
        if module_name.partition(".")[0] in _IGNORED:
            return _Ignored
        known = _KNOWN.get((module_name, global_name))
        if known is None:
            raise InputError(
                f"refused: it wants to run {module_name}.{global_name}, which no tensor needs"
            )
        return known

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage, key, _device, _length = pid
        if kind != "storage" or storage not in _STORAGES.values():
            raise InputError(f"holds numbers of a kind that is not known: {kind}, {storage}")
        if key not in self._numbers:
            raw = self._archive.read(f"{self._folder}data/{key}")
            numbers = np.frombuffer(raw, np.dtype(storage).newbyteorder(">" if self._big else "<"))
            self._numbers[key] = numbers.astype(storage)
        return self._numbers[key]


class _Ignored(dict):
    """Stands for an object that is not needed."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        pass


def _tensor(
    numbers: np.ndarray, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_rest: Any
) -> np.ndarray:
    if math.prod(shape) > numbers.size or min((offset, *shape, *stride), default=0) < 0:
        raise InputError(f"damaged: a tensor of shape {shape} in {numbers.size} numbers")
    steps = np.asarray(stride, dtype=np.int64)
    # Numpy refuses an index beyond the end.
    return numbers[offset + np.tensordot(steps, np.indices(shape), axes=1)]


def _parameter(tensor: np.ndarray, *_rest: Any) -> np.ndarray:
    return tensor


def _text(text: str, *_encoding: Any) -> bytes:
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "device"): _Ignored,
    ("torch", "Size"): tuple,
    ("_codecs", "encode"): _text,  # how pickle protocol 2 writes the bytes of a numpy number
}

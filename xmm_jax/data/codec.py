"""A sample as a ``tf.train.Example``, and back.

Images are one ``bytes`` value each, C order, little-endian, raw or compressed with zlib; text is
UTF-8; the remaining numbers are float or int64 lists. TFDS calls this ``encoding="bytes"`` and
``"zlib"``; both are read by `tensorflow_datasets` through the metadata of `xmm_jax.data.tfds`.
"""

import zlib
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np

from xmm_jax.data.example import Feature, decode, encode
from xmm_jax.data.schema import FIELDS, IMAGES, shape_of

Encoding = Literal["zlib", "raw"]
ENCODINGS: tuple[Encoding, ...] = ("zlib", "raw")


def encode_sample(sample: Mapping[str, Any], *, encoding: Encoding) -> bytes:
    """Serialise a checked sample.

    Parameters
    ----------
    sample : mapping
        Passed `xmm_jax.data.schema.check`.
    encoding : {"zlib", "raw"}
        Of the images.

    Returns
    -------
    bytes
        A ``tf.train.Example``; equal samples give equal bytes (with the same zlib library).
    """
    return encode({name: _encode(name, value, encoding) for name, value in sample.items()})


def decode_sample(
    payload: bytes,
    *,
    fields: Collection[str],
    frame: tuple[int, int],
    upscale: int,
    encoding: Encoding,
) -> dict[str, Any]:
    """Sample of a serialised ``tf.train.Example``.

    Parameters
    ----------
    payload : bytes
        From `encode_sample`.
    fields : collection of str
        Names to decode; the rest is skipped, which saves time.
    frame : tuple of int
        Input frame (y, x) [pixel].
    upscale : int
        Target pixels per input pixel along one axis.
    encoding : {"zlib", "raw"}
        Of the images.

    Returns
    -------
    dict
        As in `xmm_jax.data.schema`; the arrays are read-only.

    Raises
    ------
    ValueError
        If a field is missing or does not fit the contract.
    """
    features = decode(payload)
    sample = {}
    for name in fields:
        if name not in features:
            raise ValueError(f"it lacks {name}")
        shape = shape_of(name, frame=frame, upscale=upscale)
        try:
            sample[name] = _decode(name, features[name], shape, encoding)
        except (zlib.error, ValueError, TypeError) as error:
            raise ValueError(f"{name} cannot be decoded ({error})") from None
    return sample


def _encode(name: str, value: Any, encoding: Encoding) -> Feature:
    field = FIELDS[name]
    if field.dtype == "str":
        return [value.encode()]
    array = np.atleast_1d(np.asarray(value, field.dtype))
    if name not in IMAGES:
        return array
    raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return [zlib.compress(raw) if encoding == "zlib" else raw]


def _decode(name: str, feature: Feature, shape: tuple[int, ...], encoding: Encoding) -> Any:
    field = FIELDS[name]
    if name not in IMAGES and field.dtype != "str":
        array = np.asarray(feature)
        if array.dtype != field.dtype:
            raise ValueError(f"a list of {field.dtype} is expected")
        array = array.reshape(shape)
        return array if shape else array[()]
    (content,) = feature
    if field.dtype == "str":
        return bytes(content).decode()
    raw = zlib.decompress(content) if encoding == "zlib" else content
    return np.frombuffer(raw, np.dtype(field.dtype).newbyteorder("<")).reshape(shape)

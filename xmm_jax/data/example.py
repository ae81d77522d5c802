"""``tf.train.Example`` in bytes, without TensorFlow: named lists of bytes, float32 or int64.

The wire format is protocol buffers (protobuf.dev/programming-guides/encoding) of three messages of
tensorflow/core/example/{example,feature}.proto::

    Example {1: Features}    Features {1: map<string, Feature>}
    Feature {1: BytesList | 2: FloatList | 3: Int64List}    each list {1: repeated value}

Names are written in order, so equal features give equal bytes.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

Feature = Sequence[bytes | memoryview] | np.ndarray

_VARINT, _DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}  # wire type to size
_BYTES, _FLOATS, _INTEGERS = 1, 2, 3


def encode(features: Mapping[str, Feature]) -> bytes:
    """Serialise features as a ``tf.train.Example``.

    Parameters
    ----------
    features : mapping
        Name to a list of bytes, a float32 vector or an int64 vector.

    Returns
    -------
    bytes
        Equal to protobuf's deterministic serialisation.

    Raises
    ------
    TypeError
        For an array of another type.
    """
    entries = b"".join(
        _message(1, _message(1, name.encode()) + _message(2, _encode_feature(features[name])))
        for name in sorted(features, key=str.encode)
    )
    return _message(1, entries)


def decode(payload: bytes) -> dict[str, Feature]:
    """Features of a serialised ``tf.train.Example``.

    Parameters
    ----------
    payload : bytes
        One record.

    Returns
    -------
    dict
        Name to a list of views of the payload, a float32 vector or an int64 vector.

    Raises
    ------
    ValueError
        If the bytes are not a ``tf.train.Example``.
    """
    features: dict[str, Feature] = {}
    for entries in _members(memoryview(payload), 1):
        for entry in _members(entries, 1):
            name = b"".join(_members(entry, 1)).decode()
            features[name] = []
            for feature in _members(entry, 2):
                features[name] = _decode_feature(feature)
    return features


def _encode_feature(values: Feature) -> bytes:
    if not isinstance(values, np.ndarray):
        return _message(_BYTES, b"".join(_message(1, value) for value in values))
    if values.dtype == np.float32:
        return _message(_FLOATS, _packed(values.astype("<f4").tobytes()))
    if values.dtype == np.int64:
        # Two's complement in 64 bits, as protobuf wants negative numbers.
        numbers = (_varint(int(value) % 2**64) for value in values.ravel())
        return _message(_INTEGERS, _packed(b"".join(numbers)))
    raise TypeError(f"a feature holds bytes, float32 or int64, not {values.dtype}")


def _packed(numbers: bytes) -> bytes:
    return _message(1, numbers) if numbers else b""


def _decode_feature(payload: memoryview) -> Feature:
    feature: Feature = []
    for kind, content in _fields(payload):
        values = list(_fields(_view(content)))
        if kind == _BYTES:
            feature = [_view(value) for number, value in values if number == 1]
        elif kind in (_FLOATS, _INTEGERS):
            # Numbers come packed in one field or each in its own: both are legal, and mix.
            packed = b"".join(
                _varint(value) if isinstance(value, int) else value
                for number, value in values
                if number == 1
            )
            feature = np.frombuffer(packed, "<f4") if kind == _FLOATS else _integers(packed)
    return feature


def _integers(packed: bytes) -> np.ndarray:
    numbers, at = [], 0
    while at < len(packed):
        number, at = _read_varint(packed, at)
        numbers.append(number)
    return np.array(numbers, np.uint64).astype(np.int64)


def _members(message: memoryview, wanted: int) -> Iterator[memoryview]:
    return (_view(content) for number, content in _fields(message) if number == wanted)


def _view(content: memoryview | int) -> memoryview:
    if isinstance(content, int):
        raise ValueError("a number where a message is expected")
    return content


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Walk the fields of one message: number and content, an integer or a view."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if wire == _DELIMITED:
            size, at = _read_varint(message, at)
        elif wire in _FIXED:
            size = _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire} does not exist")
        if at + size > len(message):
            raise ValueError("a field is longer than its message")
        yield number, message[at : at + size]
        at += size


def _message(number: int, content: bytes | memoryview) -> bytes:
    return _varint(number << 3 | _DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _read_varint(view: memoryview | bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise ValueError("a number does not end")
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & (2**64 - 1), at

"""Against protobuf's own serialisation of the published message definitions."""

import contextlib

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.data.example import decode, encode

F = descriptor_pb2.FieldDescriptorProto


def _example_class(packed):
    """tf.train.Example of tensorflow/core/example/{example,feature}.proto, built in code."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"example_{packed}.proto", package="tensorflow", syntax="proto3"
    )

    def message(parent, name, *fields):
        new = parent.add(name=name)
        for number, (label, kind, field, extra) in enumerate(fields, 1):
            new.field.add(number=number, label=label, type=kind, name=field, **extra)
        return new

    lists = (
        ("BytesList", F.TYPE_BYTES),
        ("FloatList", F.TYPE_FLOAT),
        ("Int64List", F.TYPE_INT64),
    )
    for name, kind in lists:
        new = message(file.message_type, name, (F.LABEL_REPEATED, kind, "value", {}))
        if kind != F.TYPE_BYTES:
            new.field[0].options.packed = packed
    kinds = [
        (F.LABEL_OPTIONAL, F.TYPE_MESSAGE, field, {"type_name": f".tensorflow.{name}"})
        for field, (name, _) in zip(("bytes_list", "float_list", "int64_list"), lists, strict=True)
    ]
    feature = message(file.message_type, "Feature", *kinds)
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    entry_type = {"type_name": ".tensorflow.Features.FeatureEntry"}
    features = message(
        file.message_type,
        "Features",
        (F.LABEL_REPEATED, F.TYPE_MESSAGE, "feature", entry_type),
    )
    entry = message(
        features.nested_type,
        "FeatureEntry",
        (F.LABEL_OPTIONAL, F.TYPE_STRING, "key", {}),
        (F.LABEL_OPTIONAL, F.TYPE_MESSAGE, "value", {"type_name": ".tensorflow.Feature"}),
    )
    entry.options.map_entry = True
    whole = {"type_name": ".tensorflow.Features"}
    message(
        file.message_type,
        "Example",
        (F.LABEL_OPTIONAL, F.TYPE_MESSAGE, "features", whole),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


Example, UnpackedExample = _example_class(packed=True), _example_class(packed=False)

FEATURES = st.dictionaries(
    # Of one length: protobuf for Python sorts "0" before "", C++ and TensorFlow the other way.
    st.text(min_size=3, max_size=3),
    st.one_of(
        st.lists(st.binary(max_size=300), max_size=4),
        st.lists(st.floats(width=32, allow_nan=False), max_size=9).map(
            lambda v: np.array(v, np.float32)
        ),
        st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9).map(lambda v: np.array(v, np.int64)),
    ),
    max_size=5,
)


def _to_protobuf(features, cls=Example):
    message = cls()
    message.features.SetInParent()
    for name, values in features.items():
        feature = message.features.feature[name]
        if not isinstance(values, np.ndarray):
            part = feature.bytes_list
        else:
            part = feature.float_list if values.dtype == np.float32 else feature.int64_list
        part.SetInParent()
        part.value.extend(values if isinstance(values, list) else values.tolist())
    return message


def _same(one, other):
    assert set(one) == set(other)
    for name, values in one.items():
        if len(values):
            assert getattr(values, "dtype", None) == getattr(other[name], "dtype", None)
        assert list(other[name]) == list(values)


@given(FEATURES)
def test_writes_what_protobuf_writes(features):
    assert encode(features) == _to_protobuf(features).SerializeToString(deterministic=True)


@pytest.mark.parametrize("cls", [Example, UnpackedExample])
@given(features=FEATURES)
def test_reads_what_protobuf_writes(cls, features):
    _same(features, decode(_to_protobuf(features, cls).SerializeToString()))


def test_bytes_of_tensorflow():
    # tf.train.Example(...).SerializeToString(deterministic=True) of TensorFlow 2.21.0
    features = {
        "counts": [b"\x00\xff"],
        "band_kev": np.array([0.5, 2.0], np.float32),
        "seed": np.array([-1, 300], np.int64),
    }
    assert encode(features) == bytes.fromhex(
        "0a460a180a0862616e645f6b6576120c120a0a080000003f000000400a100a06636f756e"
        "747312060a040a0200ff0a180a047365656412101a0e0a0cffffffffffffffffff01ac02"
    )


@given(FEATURES)
def test_order_of_names_does_not_matter(features):
    assert encode(dict(reversed(features.items()))) == encode(features)


def test_cut_off_anywhere():
    payload = encode({"a": [b"xy"], "b": np.arange(3), "c": np.ones(2, np.float32)})
    for size in range(1, len(payload)):
        with pytest.raises(ValueError, match=r"longer|end"):
            decode(payload[:size])


@pytest.mark.parametrize(
    "payload",
    [
        b"\x08\x01",  # a number where Features should be
        b"\x0b\x00",  # wire type 3
        b"\x0a" + b"\xff" * 11,  # a length that does not end
        b"\x0a\x07\x0a\x05\x0a\x01\xff\x12\x00",  # a name that is not UTF-8
    ],
)
def test_not_an_example(payload):
    with pytest.raises(ValueError):  # noqa: PT011
        decode(payload)


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_raise_value_error(payload):
    with contextlib.suppress(ValueError):
        decode(payload)


def test_refuses_other_types():
    with pytest.raises(TypeError, match="float64"):
        encode({"a": np.zeros(2)})

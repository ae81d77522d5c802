"""Against published CRC32C values, a bit-by-bit CRC, and a file written by TensorFlow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmm_jax.data.framing import frame, masked_checksum, read, scan
from xmm_jax.errors import InputError

# tf.io.TFRecordWriter of TensorFlow 2.21.0: b"" and then b"XMM-Newton".
TENSORFLOW = bytes.fromhex(
    "000000000000000029039807d8ea82a20a00000000000000aea3bf3a584d4d2d4e6577746f6e62758814"
)


def _mask(crc):
    return ((crc >> 15 | crc << 17) % 2**32 + 0xA282EAD8) % 2**32


def _crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
    ids=["zeros", "ones", "up", "down"],
)
def test_published_checksums(data, crc):
    assert _crc32c(data) == crc
    assert masked_checksum(data) == _mask(crc)


@given(st.binary(max_size=50))
def test_checksum_bit_by_bit(data):
    assert masked_checksum(data) == _mask(_crc32c(data))


def test_file_of_tensorflow(tmp_path):
    assert frame(b"") + frame(b"XMM-Newton") == TENSORFLOW
    path = tmp_path / "a"
    path.write_bytes(TENSORFLOW)
    assert [read(path, *span) for span in scan(path).tolist()] == [b"", b"XMM-Newton"]


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_round_trip(tmp_path_factory, payloads):
    path = tmp_path_factory.getbasetemp() / "round_trip"
    path.write_bytes(b"".join(map(frame, payloads)))
    spans = scan(path)
    assert spans.shape == (len(payloads), 2)
    assert spans.dtype == np.int64
    assert [read(path, *span) for span in spans.tolist()] == payloads


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "shard"
    whole = frame(b"first") + frame(b"second record")
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(ValueError, match=r"record [01] is|checksum does not match"):
            [read(path, *span) for span in scan(path).tolist()]


def test_every_cut_is_noticed_and_named(tmp_path):
    path = tmp_path / "shard"
    first, second = frame(b"first"), frame(b"second record")
    for size in range(1, len(first + second)):
        path.write_bytes((first + second)[:size])
        if size == len(first):
            continue  # a whole file of one record; the manifest knows better
        record = int(size > len(first))
        with pytest.raises(InputError, match=rf"shard: record {record} is cut off"):
            scan(path)


def test_file_that_shrinks_while_open(tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(frame(b"first"))
    (span,) = scan(path).tolist()
    path.write_bytes(frame(b"first")[:-6])
    with pytest.raises(ValueError, match="cut off"):
        read(path, *span)

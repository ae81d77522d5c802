"""The TFRecord file format: payloads one after the other, each with its length and checksums.

Per record: length (uint64), masked CRC32C of the length (uint32), payload, masked CRC32C of the
payload (uint32), all little-endian (tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format
details"; masking from tensorflow/tsl/lib/hash/crc32c.h).
"""

import os
import struct
from pathlib import Path

import google_crc32c
import numpy as np

from xmm_jax.errors import InputError

HEADER, FOOTER = 12, 4  # bytes before and after a payload
_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")


def masked_checksum(data: bytes) -> int:
    """CRC32C of `data`, rotated and shifted so that a checksum may itself be checksummed."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """One record as it stands in the file.

    Parameters
    ----------
    payload : bytes
        Any.

    Returns
    -------
    bytes
        Length, checksum, payload, checksum.
    """
    length = _LENGTH.pack(len(payload))
    ends = _CHECKSUM.pack(masked_checksum(length)), _CHECKSUM.pack(masked_checksum(payload))
    return b"".join((length, ends[0], payload, ends[1]))


def scan(path: Path) -> np.ndarray:
    """Where the payloads of a file lie, from the record headers alone.

    Parameters
    ----------
    path : Path
        A TFRecord file.

    Returns
    -------
    numpy.ndarray
        int64 [record, 2]: offset and length of each payload [byte].

    Raises
    ------
    InputError
        Naming the file and the record (counted from 0) where it is cut off or damaged.
    """
    spans, at = [], 0
    with path.open("rb", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        while at < end:
            header = os.pread(file.fileno(), HEADER, at)
            where = f"{path}: record {len(spans)}"
            if len(header) < HEADER:
                raise InputError(f"{where} is cut off; copy or prepare the records again")
            if masked_checksum(header[:8]) != _CHECKSUM.unpack(header[8:])[0]:
                raise InputError(f"{where} is corrupt (length); copy or prepare the records again")
            (length,) = _LENGTH.unpack(header[:8])
            if at + HEADER + length + FOOTER > end:
                raise InputError(f"{where} is cut off; copy or prepare the records again")
            spans.append((at + HEADER, length))
            at += HEADER + length + FOOTER
    return np.array(spans, np.int64).reshape(-1, 2)


def read(path: Path, offset: int, length: int) -> bytes:
    """Payload of one record, checked; safe from any number of threads.

    Parameters
    ----------
    path : Path
        A TFRecord file.
    offset, length : int
        One row of `scan` [byte].

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If the checksum does not match or the file ends before.
    """
    with path.open("rb", buffering=0) as file:
        payload = os.pread(file.fileno(), length, offset)
        checksum = os.pread(file.fileno(), FOOTER, offset + length)
    if len(payload) < length or len(checksum) < FOOTER:
        raise ValueError("it is cut off")
    if masked_checksum(payload) != _CHECKSUM.unpack(checksum)[0]:
        raise ValueError("its checksum does not match")
    return payload

import numpy as np
import pytest

from xmm_jax.data.codec import ENCODINGS, decode_sample, encode_sample
from xmm_jax.data.example import decode, encode
from xmm_jax.data.schema import FIELDS

BIG_ENDIAN = {"counts": ">i4", "exposure": ">f4", "seed": ">i8"}


def _decode(payload, sample, encoding, fields=None, frame=(12, 10), upscale=2):
    return decode_sample(
        payload, fields=fields or list(sample), frame=frame, upscale=upscale, encoding=encoding
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("upscale", [1, 2])
def test_round_trip(make_sample, equal, encoding, upscale):
    sample = make_sample(5, upscale=upscale, background=True)
    payload = encode_sample(sample, encoding=encoding)
    assert equal(sample, _decode(payload, sample, encoding, upscale=upscale))


def test_bytes_on_disk(make_sample):
    sample = make_sample(5)
    features = decode(encode_sample(sample, encoding="raw"))
    (counts,) = features["counts"]
    numbers = [number for row in sample["counts"] for number in row[:, 0]]
    assert counts == b"".join(int(number).to_bytes(4, "little") for number in numbers)
    (valid,) = features["valid"]
    assert valid == bytes(int(v) for v in sample["valid"].ravel())
    assert features["camera"] == [b"pn"]
    assert features["seed"].tolist() == [-5]
    assert features["pixel_arcsec"].tolist() == [4.0]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_equal_samples_give_equal_bytes(make_sample, encoding):
    sample = make_sample(5)
    changed = dict(reversed(sample.items()))
    changed |= {name: sample[name].astype(kind) for name, kind in BIG_ENDIAN.items()}
    changed["target"] = np.asfortranarray(sample["target"])
    changed["band_kev"] = [0.5, 2.0]
    one, other = (encode_sample(s, encoding=encoding) for s in (sample, changed))
    assert one == other


def test_only_the_fields_asked_for(make_sample):
    sample = make_sample(5)
    payload = encode_sample(sample, encoding="zlib")
    some = _decode(payload, sample, "zlib", fields=("source_id", "target"))
    assert list(some) == ["source_id", "target"]


@pytest.mark.parametrize(
    ("name", "feature", "message"),
    [
        ("counts", [bytes(479)], "counts cannot be decoded"),
        ("counts", [bytes(484)], "counts cannot be decoded"),
        ("counts", [], "counts cannot be decoded"),
        ("counts", np.zeros(120, np.int64), "counts cannot be decoded"),
        ("seed", np.zeros(2, np.int64), "seed cannot be decoded"),
        ("seed", np.zeros(1, np.float32), "a list of int64 is expected"),
        ("band_kev", np.zeros(3, np.float32), "band_kev cannot be decoded"),
        ("camera", [b"\xff"], "camera cannot be decoded"),
    ],
)
def test_fields_that_do_not_fit(make_sample, name, feature, message):
    sample = make_sample(5)
    features = decode(encode_sample(sample, encoding="raw")) | {name: feature}
    with pytest.raises(ValueError, match=message):
        _decode(encode(features), sample, "raw")


def test_wrong_encoding_and_missing_field(make_sample):
    sample = make_sample(5)
    payload = encode_sample(sample, encoding="raw")
    with pytest.raises(ValueError, match="counts cannot be decoded"):
        _decode(payload, sample, "zlib")
    with pytest.raises(ValueError, match="lacks background"):
        _decode(payload, sample, "raw", fields=FIELDS)

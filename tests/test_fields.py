"""The same field, bit for bit: alone or in a batch, recorded or streamed, here or elsewhere."""

import dataclasses
import hashlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from xmm_jax import fields, prepare
from xmm_jax.config import SimulatedConfig
from xmm_jax.data.augment import Augment, decide, transform
from xmm_jax.data.schema import IMAGES
from xmm_jax.data.tfrecord import RecordSource
from xmm_jax.dataset import training_batches, validation_batches
from xmm_jax.errors import InputError
from xmm_jax.presets import parse
from xmm_jax.records import write_simulated

# The denoising task draws one grid only: the quickest to compile.
CONFIG = SimulatedConfig(fields=7, target_kind="observed")
STREAM = ["--task=dn", "--data=stream", "--crop=40", "--loss=l1", "--flips", "--steps=9"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Samples of records by number, written with the usual command."""
    folder = tmp_path_factory.mktemp("records") / "dn"
    flags = ["--task=dn", "--n=7", "--target_kind=observed", "--workers=1", f"--out={folder}"]
    prepare.main(flags)
    found = {}
    for split in ("train", "validation", "test"):
        found |= {int(sample["seed"]): sample for sample in RecordSource(folder, split)}
    assert sorted(found) == list(range(7))
    return found


def stream(batch_size, first=0):
    config = parse([*STREAM, "--simulated.target_kind=observed", f"--batch_size={batch_size}"])
    return training_batches(config, "stream", start_step=first)


def equal(one, other):
    for name in IMAGES:
        assert np.asarray(one[name]).dtype == np.asarray(other[name]).dtype
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]), err_msg=name)


# Four devices share a batch of four; other batches are drawn on one.
@pytest.mark.parametrize(
    ("batch_size", "first"),
    [(1, 3), (3, 0), (2, 2), pytest.param(4, 0, marks=pytest.mark.slow)],
)
def test_stream_and_records_give_the_same(recorded, batch_size, first):
    batch = next(stream(batch_size, first))
    assert batch["index"].tolist() == list(range(first * batch_size, (first + 1) * batch_size))
    augment = Augment(position="random", flips=True)
    for row, number in enumerate(batch["index"].tolist()):
        sample = {name: recorded[number][name] for name in IMAGES}
        moves = decide(augment, seed=0, index=number, frame=(416, 416), crop=40)
        equal(transform(sample, moves, crop=40), {name: batch[name][row] for name in IMAGES})


@pytest.mark.slow
def test_blocks_of_an_accelerator_are_taken_apart_the_same_way(recorded, monkeypatch):
    # A row of any block is the field of its number, and does not depend on who takes it.
    monkeypatch.setitem(fields.BLOCK, "cpu", 3)
    fields.drawer.cache_clear()
    draw = fields.draw_batch("dn", CONFIG)
    whole = draw(np.arange(7))
    for numbers in ([5], [2, 3], [6, 0, 4, 1]):
        part = draw(np.array(numbers))
        equal({name: whole[name][np.array(numbers)] for name in IMAGES}, part)
    names = fields.names_of(CONFIG)[4:6]
    for sample, number in zip(
        fields.draw_samples(names, task="dn", config=CONFIG), (4, 5), strict=True
    ):
        assert sample["seed"] == number
        inner = whole["counts"][number, 2:413, 6:409]
        np.testing.assert_array_equal(sample["counts"], inner)
        np.testing.assert_array_equal(sample["counts"], recorded[number]["counts"][2:413, 6:409])
    fields.drawer.cache_clear()


def digests(numbers):
    """Checksum of every image of some fields."""
    names = [fields.names_of(CONFIG)[number] for number in numbers]
    return [
        hashlib.sha256(b"".join(np.asarray(sample[name]).tobytes() for name in IMAGES)).hexdigest()
        for sample in fields.draw_samples(names, task="dn", config=CONFIG, seed=3)
    ]


@pytest.mark.slow
def test_fresh_process_gives_the_same():
    program = (
        "from xmm_jax import fields; from xmm_jax.config import SimulatedConfig\n"
        "import hashlib, numpy as np\n"
        "from xmm_jax.data.schema import IMAGES\n"
        "config = SimulatedConfig(fields=7, target_kind='observed')\n"
        "for s in fields.draw_samples(['x-5', 'x-2'], task='dn', config=config, seed=3):\n"
        "    data = b''.join(np.asarray(s[name]).tobytes() for name in IMAGES)\n"
        "    print(hashlib.sha256(data).hexdigest())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.decode().split() == digests([5, 2])


@pytest.mark.slow
def test_validation_fields_are_fields_of_their_own():
    config = parse([*STREAM, "--eval_fields=3", "--simulated.target_kind=observed"])
    batches = list(validation_batches(config, "stream"))
    numbers = np.concatenate([batch["index"] for batch in batches])
    weight = np.concatenate([batch["weight"] for batch in batches])
    assert len(numbers) == jax.device_count()
    assert numbers[0] == 2**31 - 2**16
    assert weight.tolist() == [1, 1, 1, 0]
    assert batches[0]["counts"].shape == (4, 416, 416, 1)


def test_fingerprint_tells_settings_apart(monkeypatch):
    one = fields.fingerprint({"fields": 3})
    assert one == fields.fingerprint({"fields": 3})
    assert len({one, fields.fingerprint({"fields": 4}), fields.fingerprint({})}) == 3
    monkeypatch.setattr(jax, "__version__", "another")
    assert fields.fingerprint({"fields": 3}) != one


def test_settings_change_what_is_drawn():
    assert fields.exposures("sr", CONFIG) == (20e3, 100e3)
    long = dataclasses.replace(CONFIG, exposure_ks=5.0, target_exposure_ks=10.0)
    assert fields.exposures("sr", long) == (5e3, 10e3)


def test_number_of_a_name():
    assert [fields.number_of(name) for name in fields.names_of(CONFIG)] == list(range(7))
    assert fields.names_of(SimulatedConfig(1, "reference"), seed=8) == ["sim-reference-8-000000"]


def test_an_interrupted_folder_is_used_again(tmp_path, monkeypatch, capsys, recorded):
    config = dataclasses.replace(CONFIG, fields=3)
    drawn = []

    def samples(name, **fixed):
        drawn.append(name)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        # What the records hold; drawing is tested above.
        yield recorded[fields.number_of(name)] | {"source_id": name}

    monkeypatch.setattr("xmm_jax.records._padded_field", samples)
    fractions = (0.4, 0.3, 0.3)
    with pytest.raises(RuntimeError, match="1 shards were finished and are kept, 2 are left"):
        write_simulated(tmp_path / "x", "dn", config, settings={}, fractions=fractions)
    (hidden,) = tmp_path.iterdir()
    assert hidden.name.startswith(".x.")
    manifest = write_simulated(tmp_path / "x", "dn", config, settings={}, fractions=fractions)
    assert "going on: 1 of 3 fields are there already" in capsys.readouterr().out
    assert len(drawn) == 4
    assert sum(split.examples for split in manifest.splits.values()) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    with pytest.raises(InputError, match="exists already"):
        write_simulated(tmp_path / "x", "dn", config, settings={}, fractions=fractions)

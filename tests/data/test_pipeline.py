import itertools

import numpy as np
import pytest

from xmm_jax.data.augment import Augment, decide, transform
from xmm_jax.data.pipeline import FED, batches, eval_batches, example_numbers
from xmm_jax.data.tfrecord import RecordSource, write_records
from xmm_jax.errors import InputError

EVERYTHING = Augment(flips=True, turns=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_sample):
    """Seven examples; every pixel of `counts` holds the number of the record."""
    folder = tmp_path_factory.mktemp("pipeline") / "records"

    def numbered(i):
        sample = make_sample(i, background=True)
        return sample | {"counts": np.full_like(sample["counts"], i)}

    write_records(folder, {"train": map(numbered, range(7))}, settings={})
    return folder


def _take(iterator, count):
    taken = list(itertools.islice(iterator, count))
    iterator.close()
    return taken


def _records(batch):
    """Number of the record at each row."""
    return batch["counts"][:, 0, 0, 0].tolist()


def _assert_equal(one, other):
    assert set(one) == set(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_fields_of_a_batch(folder):
    (batch,) = _take(batches(folder, batch_size=3), 1)
    assert set(batch) == {*FED, "weight", "index"}
    assert batch["counts"].shape == (3, 12, 10, 1)
    assert batch["target"].shape == (3, 24, 20, 1)
    assert batch["index"].dtype == np.int64
    np.testing.assert_array_equal(batch["weight"], np.ones(3, np.float32))
    assert batch["weight"].dtype == np.float32


def test_pairs_stay_pairs(folder):
    source = RecordSource(folder, "train")
    for batch in _take(batches(folder, batch_size=3, seed=4, crop=6, augment=EVERYTHING), 5):
        for row, record in enumerate(_records(batch)):
            index = int(batch["index"][row])
            images = {name: source[record][name] for name in FED}
            moves = decide(EVERYTHING, seed=4, index=index, frame=(12, 10), crop=6)
            for name, image in transform(images, moves, crop=6).items():
                np.testing.assert_array_equal(batch[name][row], image)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 9])
def test_every_epoch_is_another_permutation(folder, batch_size):
    taken = _take(batches(folder, batch_size=batch_size, seed=2), -(-42 // batch_size))
    index = np.concatenate([batch["index"] for batch in taken])
    np.testing.assert_array_equal(index, np.arange(len(index)))
    order = np.concatenate([_records(batch) for batch in taken])[:42].reshape(6, 7)
    np.testing.assert_array_equal(np.sort(order), np.tile(np.arange(7), (6, 1)))
    assert len({tuple(epoch) for epoch in order.tolist()}) > 3


def test_a_share_is_the_first_examples(folder):
    whole = {r for b in _take(batches(folder, batch_size=2), 20) for r in _records(b)}
    number = round(0.5 * len(whole))
    taken = _take(batches(folder, batch_size=1, share=0.5), 3 * number)
    half = [r for b in taken for r in _records(b)]
    assert len(set(half)) == number
    assert all(half.count(record) == 3 for record in half)  # three epochs
    least = [r for b in _take(batches(folder, batch_size=1, share=1e-9), 3) for r in _records(b)]
    assert len(set(least)) == 1


def test_order_does_not_depend_on_batch_size(folder):
    one, other = (
        np.concatenate([_records(b) for b in _take(batches(folder, batch_size=n), 24 // n)])
        for n in (2, 8)
    )
    np.testing.assert_array_equal(one, other)


def test_seeds_give_other_orders(folder):
    orders = {
        tuple(itertools.chain(*map(_records, _take(batches(folder, batch_size=7, seed=seed), 3))))
        for seed in (0, 1, 2, 2**32 - 1)
    }
    assert len(orders) == 4
    # No seed is another one an epoch late.
    epochs = [order[i : i + 7] for order in orders for i in (0, 7, 14)]
    assert len(set(epochs)) > 9


@pytest.mark.parametrize("start_step", [1, 4, 9])
@pytest.mark.parametrize("threads", [0, 3])
def test_resumed_equals_uninterrupted(folder, start_step, threads):
    settings = {"batch_size": 2, "seed": 3, "crop": 6, "augment": EVERYTHING}
    whole = _take(batches(folder, **settings, threads=1), 12)
    resumed = batches(folder, **settings, start_step=start_step, threads=threads)
    for one, other in zip(whole[start_step:], _take(resumed, 12 - start_step), strict=True):
        _assert_equal(one, other)


def test_far_into_a_run(folder):
    (batch,) = _take(batches(folder, batch_size=2, start_step=10**12), 1)
    np.testing.assert_array_equal(batch["index"], [2 * 10**12, 2 * 10**12 + 1])
    np.testing.assert_array_equal(batch["index"], example_numbers(10**12, 2))


def test_processes_share_a_batch(folder):
    settings = {"batch_size": 6, "seed": 3, "crop": 6, "augment": EVERYTHING, "threads": 2}
    whole = _take(batches(folder, **settings), 4)
    for count in (2, 3, 6):
        parts = [
            _take(batches(folder, **settings, process_index=i, process_count=count), 4)
            for i in range(count)
        ]
        for batch, *shares in zip(whole, *parts, strict=True):
            joined = {name: np.concatenate([s[name] for s in shares]) for name in batch}
            _assert_equal(batch, joined)


def test_one_record_alone(tmp_path, make_sample):
    write_records(tmp_path / "r", {"train": [make_sample(3)]}, settings={})
    (batch,) = _take(batches(tmp_path / "r", batch_size=4), 1)
    np.testing.assert_array_equal(batch["target"], np.stack([make_sample(3)["target"]] * 4))


def test_evaluation_is_one_pass_in_order(folder):
    taken = list(eval_batches(folder, "train", batch_size=3))
    assert [_records(batch) for batch in taken] == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
    assert [batch["weight"].tolist() for batch in taken] == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]
    assert [batch["index"].tolist() for batch in taken] == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
    source = RecordSource(folder, "train")
    np.testing.assert_array_equal(taken[1]["target"][2], source[5]["target"])


def test_evaluation_can_be_limited_and_cropped(folder):
    (batch,) = eval_batches(folder, "train", batch_size=2, limit=2, crop=6)
    source = RecordSource(folder, "train")
    for row in range(2):
        np.testing.assert_array_equal(batch["target"][row], source[row]["target"][6:18, 4:16])
    taken = list(eval_batches(folder, "train", batch_size=3, limit=100))
    assert sum(batch["weight"].sum() for batch in taken) == 7


@pytest.mark.parametrize("count", [2, 4])
def test_evaluation_in_processes(folder, count):
    """Every process gets as many batches, together each example has weight 1 once."""
    parts = [
        list(eval_batches(folder, "train", batch_size=4, process_index=i, process_count=count))
        for i in range(count)
    ]
    assert {len(part) for part in parts} == {2}
    joined = [b for part in parts for b in part]
    weight = np.concatenate([b["weight"] for b in joined])
    index = np.concatenate([b["index"] for b in joined])
    assert sorted(index[weight == 1].tolist()) == list(range(7))


def test_faults_are_said_at_the_call(folder, tmp_path):
    with pytest.raises(InputError, match=r"prepare"):
        batches(tmp_path, batch_size=2)
    with pytest.raises(InputError, match="multiple of the 2 processes"):
        batches(folder, batch_size=3, process_count=2)
    with pytest.raises(InputError, match="batch_size is 0"):
        batches(folder, batch_size=0)
    with pytest.raises(InputError, match="seed is -1"):
        batches(folder, batch_size=1, seed=-1)
    with pytest.raises(InputError, match="crop of 16 pixels"):
        batches(folder, batch_size=1, crop=16)
    with pytest.raises(InputError, match="no examples in split 'validation'"):
        eval_batches(folder, batch_size=1)


@pytest.mark.parametrize("threads", [0, 2])
def test_corrupt_record_is_named_from_a_thread(tmp_path, make_sample, threads):
    write_records(tmp_path / "r", {"train": [make_sample(3)]}, settings={})
    path = tmp_path / "r" / "xmm-train.tfrecord-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    with pytest.raises(InputError, match=r"00000-of-00001: record 0 is corrupt"):
        next(batches(tmp_path / "r", batch_size=1, threads=threads))

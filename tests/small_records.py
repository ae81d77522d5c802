"""Records of small fields, so that a training run takes seconds."""

import numpy as np

from xmm_jax.data.pairs import make_sample
from xmm_jax.data.tfrecord import write_records

FIELDS = {"train": 6, "validation": 3}
FRAME = (40, 48)
FLAGS = (
    *("--task=sr", "--network.size=tiny", "--crop=24", "--batch_size=4", "--loss=l1"),
    *("--optim.average=0.9", "--log_every=1", "--eval_every=3"),
)


def field(number):
    """A gradient and a source that differ from field to field, with a dead row."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: FRAME[0], : FRAME[1]]
    place = rng.uniform(8, 32, 2)
    rate = 1e-4 * (1 + x / 48 + 30 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 8))
    valid = np.ones(FRAME, bool)
    valid[5] = False
    fine_rate, fine_valid = (image.repeat(2, 0).repeat(2, 1) for image in (rate / 4, valid))
    return make_sample(
        rng.poisson(rate * 2e4).astype(np.int32),
        np.full(FRAME, 2e4, np.float32),
        valid,
        (fine_rate * 1e5).astype(np.float32),
        np.full(fine_rate.shape, 1e5, np.float32),
        fine_valid,
        source_id=f"field{number}",
        obs_id=str(number),
        pairing="simulated",
        target_kind="expected",
        seed=number,
    )


def write_small_records(folder, *, first=0):
    """Six fields to train on, three to validate with, numbered from ``first``."""
    begin = {"train": first, "validation": first + FIELDS["train"]}
    splits = {name: [field(begin[name] + i) for i in range(n)] for name, n in FIELDS.items()}
    write_records(folder, splits, settings={"task": "sr"})
    return folder

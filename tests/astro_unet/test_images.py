import dataclasses
import itertools

import jax
import numpy as np
import pytest

from xmm_jax.astro_unet.images import (
    batch_shapes,
    cut_example,
    data_digest,
    draw_image,
    find_data,
    keep_data,
    open_images,
    training_batches,
    validation_batches,
)
from xmm_jax.data.splits import split_of
from xmm_jax.errors import InputError
from xmm_jax.numbered import FIRST


def first(config, data, number, *, start_step=0):
    return list(itertools.islice(training_batches(config, data, start_step=start_step), number))


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_batches_depend_on_seed_and_step_alone(config):
    batches = first(config, "drawn", 3)
    assert same(first(config, "drawn", 1, start_step=2)[0], batches[2])
    other = first(dataclasses.replace(config, seed=1), "drawn", 1)[0]
    assert not same(other, batches[0])
    assert len({int(n) for batch in batches for n in batch["noise"]}) == 12


def test_batches_have_the_shapes_that_are_compiled_for(config, drizzled):
    for settings in (config, dataclasses.replace(config, data=str(drizzled))):
        batch = first(settings, find_data(settings), 1)[0]
        for shapes in (batch_shapes(settings, (4,)),):
            assert {name: value.shape for name, value in batch.items()} == {
                name: value.shape for name, value in shapes.items()
            }
            assert {n: v.dtype for n, v in batch.items()} == {n: v.dtype for n, v in shapes.items()}


def test_an_epoch_sees_every_field_once(config):
    images = open_images(config, "drawn", "train")
    seen = [cut_example(config, images, number)["exposure"] for number in range(6)]
    own = sorted(draw_image(i, 64).exposure_s for i in range(3))
    assert sorted(seen[:3]) == pytest.approx(own)
    assert sorted(seen[3:]) == pytest.approx(own)


def test_ordered_ratios_see_the_same_crop(config):
    settings = dataclasses.replace(config, ratios=(2, 3, 4, 5))
    batch = first(settings, "drawn", 1)[0]
    assert batch["ratio"].tolist() == [2, 3, 4, 5]
    assert all(np.array_equal(batch["rate"][0], rate) for rate in batch["rate"])
    random = dataclasses.replace(settings, order="random")
    ratios = np.concatenate([batch["ratio"] for batch in first(random, "drawn", 4)])
    assert set(ratios) > {2.0}


def test_shifted_pairs_show_the_same_sky_elsewhere(config):
    settings = dataclasses.replace(config, shift=3, flips=False)
    images = open_images(settings, "drawn", "train")
    moves = set()
    for number in range(12):
        example = cut_example(settings, images, number)
        rate, target = example["rate"][..., 0], example["target"][..., 0]
        found = [
            (dy, dx)
            for dy, dx in itertools.product(range(-3, 4), repeat=2)
            if np.array_equal(np.roll(target, (-dy, -dx), (0, 1))[4:-4, 4:-4], rate[4:-4, 4:-4])
        ]
        assert found
        moves.update(found)
    assert len(moves) > 4


def test_validation_gives_each_field_with_each_ratio_once(config):
    settings = dataclasses.replace(config, ratios=(2, 5), eval_fields=3)
    batches = list(validation_batches(settings, "drawn"))
    assert all(len(batch["weight"]) == jax.local_device_count() for batch in batches)
    kept = [
        (float(exposure), float(ratio))
        for batch in batches
        for exposure, ratio, weight in zip(
            batch["exposure"], batch["ratio"], batch["weight"], strict=True
        )
        if weight
    ]
    own = [draw_image(FIRST["validation"] + i, 64).exposure_s for i in range(3)]
    assert sorted(kept) == sorted((np.float32(e), r) for e in own for r in (2.0, 5.0))


def test_files_are_split_by_name_and_noted(config, drizzled, tmp_path):
    settings = dataclasses.replace(config, data=str(drizzled), crop=32)
    data = find_data(settings)
    total = {name: open_images(settings, data, name).total for name in FIRST}
    assert sum(total.values()) == 20
    files = sorted(path.name for path in drizzled.iterdir())
    assert total["train"] == sum(split_of(name) == "train" for name in files)
    keep_data(settings, tmp_path, data)
    keep_data(settings, tmp_path, data)
    assert len((tmp_path / "images.txt").read_text().splitlines()) == 20
    (tmp_path / "images.txt").write_text("other.fits 1\n")
    with pytest.raises(InputError, match="other images"):
        keep_data(settings, tmp_path, data)
    assert len(data_digest(settings, data)) == 64
    assert data_digest(config, "drawn") != data_digest(
        dataclasses.replace(config, side=128), "drawn"
    )


def test_folders_without_images_are_refused(config, tmp_path):
    with pytest.raises(InputError, match="no FITS files"):
        find_data(dataclasses.replace(config, data=str(tmp_path)))
    (tmp_path / "one.fits").touch()
    with pytest.raises(InputError, match="too few"):
        find_data(dataclasses.replace(config, data=str(tmp_path)))

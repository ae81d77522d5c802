import dataclasses
import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmm_jax.errors import InputError
from xmm_jax.herschel.images import (
    batch_shapes,
    cut_example,
    data_digest,
    draw_region,
    find_data,
    keep_data,
    open_regions,
    to_example,
    training_batches,
    validation_batches,
)
from xmm_jax.herschel.region import Region, read_region
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


def test_batches_have_the_shapes_that_are_compiled_for(config, maps):
    for chosen in (config, dataclasses.replace(config, data=str(maps))):
        batch = first(chosen, find_data(chosen), 1)[0]
        shapes = batch_shapes(chosen, (4,))
        assert {n: v.shape for n, v in batch.items()} == {n: v.shape for n, v in shapes.items()}
        assert {n: v.dtype for n, v in batch.items()} == {n: v.dtype for n, v in shapes.items()}


def test_an_epoch_sees_every_field_once(config):
    whole = dataclasses.replace(config, crop=config.side, flips=False)
    regions = open_regions(whole, "drawn", "train")
    seen = [cut_example(whole, regions, number)["target"].sum() for number in range(6)]
    own = sorted(draw_region(i, config).target.sum() for i in range(3))
    assert np.allclose(sorted(seen[:3]), own)
    assert np.allclose(sorted(seen[3:]), own)


def test_splits_are_different_sky(config):
    targets = [draw_region(number, config).target for number in FIRST.values()]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(targets, 2))


def marked_region():
    """A map that is 1 at its sources and 0 elsewhere."""
    rng = np.random.default_rng(3)
    y, x = (rng.permutation(48)[:20].astype(float) for _ in range(2))
    target = np.zeros((48, 48, 1), np.float32)
    target[y.astype(int), x.astype(int)] = 1.0
    bands = np.repeat(target, 3, axis=-1)
    flux = rng.uniform(5, 20, 20)
    return Region("", bands, target, np.ones(target.shape, bool), x, y, flux, both=False)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 20), st.integers(0, 20), st.booleans(), st.booleans())
def test_the_catalogue_goes_with_the_map(y, x, along_y, along_x):
    part = marked_region().window(slice(y, y + 27), slice(x, x + 27)).mirrored(along_y, along_x)
    example = to_example(part, least_mjy=4.0)
    listed = example["listed"] > 0
    assert listed.sum() == example["target"].sum()
    places = example["y"][listed].astype(int), example["x"][listed].astype(int)
    assert np.all(example["target"][..., 0][places] == 1.0)
    assert np.array_equal(example["bands"][..., 2], example["target"][..., 0])


def test_only_bright_sources_are_listed_the_brightest_first():
    region = marked_region()
    example = to_example(region, least_mjy=12.0)
    bright = np.sort(region.flux[region.flux >= 12.0])[::-1]
    assert example["listed"].sum() == len(bright)
    place = int(np.argmax(region.flux))
    assert (example["x"][0], example["y"][0]) == (region.x[place], region.y[place])


def test_real_maps_are_those_of_the_files(field, maps):
    region = read_region(str(maps), least_mjy=4.0)
    rim = (len(region.target) - len(field.target)) // 2  # of the common grid, beyond the files
    assert rim <= 1
    side = len(field.target)
    region = region.window(slice(rim, rim + side), slice(rim, rim + side))
    live = region.valid[..., 0]
    assert not live[:2].any()
    assert live[5:-1, 1:-1].all()
    inner = np.s_[5:-3, 3:-3]
    for drawn, read in ((field.bands, region.bands), (field.observed_target, region.target)):
        shift = (read - drawn)[inner]
        assert np.ptp(shift, axis=(0, 1)).max() < 0.02  # a level and nothing else
        assert np.allclose(read.mean((0, 1), where=live[..., None]), 0, atol=1e-3)
    assert region.both
    bright = region.flux > 8
    apart = np.hypot(region.x[bright, None] - field.x, region.y[bright, None] - field.y)
    assert np.all(np.where(field.flux > 5, apart, 99).min(axis=1) < 2)


def test_sources_of_data_alternate(config, maps):
    both = dataclasses.replace(config, data=f"drawn,{maps}", alternate=True)
    data = find_data(both)
    batches = first(both, data, 4)
    assert [float(batch["both"].mean()) for batch in batches] == [0.0, 1.0, 0.0, 1.0]
    assert same(first(both, data, 1, start_step=3)[0], batches[3])
    assert same(batches[2], first(config, "drawn", 2)[1])
    assert data_digest(both, data).count(",") == 1
    assert data_digest(both, data).split(",")[0] == data_digest(config, "drawn")


def test_other_maps_are_refused(config, write_maps, tmp_path):
    pytest.importorskip("reproject")
    folder = write_maps(tmp_path / "maps")
    run = tmp_path / "run"
    run.mkdir()
    chosen = dataclasses.replace(config, data=str(folder))
    keep_data(chosen, run, find_data(chosen))
    keep_data(chosen, run, find_data(chosen))
    (folder / "notes.txt").write_text("of mine")
    with pytest.raises(InputError, match="made with other maps"):
        keep_data(chosen, run, str(folder))


def test_bad_folders_are_refused(config, write_maps, tmp_path):
    pytest.importorskip("reproject")
    folder = write_maps(tmp_path / "maps")
    (folder / "map350.fits").rename(folder / "other.fits")
    (folder / "again.fits").write_bytes((folder / "map250.fits").read_bytes())
    with pytest.raises(InputError, match="at 250 um too"):
        read_region(str(folder), least_mjy=4.0)
    (folder / "again.fits").unlink()
    (folder / "other.fits").unlink()
    with pytest.raises(InputError, match="no map at 350 um"):
        read_region(str(folder), least_mjy=4.5)
    with pytest.raises(InputError, match="4 are needed"):
        find_data(dataclasses.replace(config, data=str(tmp_path / "nowhere")))


def test_maps_smaller_than_a_crop_are_refused(config, maps):
    large = dataclasses.replace(config, data=str(maps), crop=256, side=256)
    with pytest.raises(InputError, match="--crop=256"):
        first(large, find_data(large), 1)


def test_validation_sees_each_field_once(config):
    batches = list(validation_batches(config, "drawn"))
    assert all(len(batch["weight"]) == jax.local_device_count() for batch in batches)
    kept = [
        float(target.sum())
        for batch in batches
        for target, weight in zip(batch["target"], batch["weight"], strict=True)
        if weight
    ]
    own = [draw_region(FIRST["validation"] + i, config).target.sum() for i in range(3)]
    assert np.allclose(sorted(kept), sorted(own))


def test_real_maps_validate_on_rows_that_do_not_train(config, maps):
    chosen = dataclasses.replace(config, data=str(maps))
    train, validation = (
        open_regions(chosen, str(maps), split).get(0) for split in ("train", "validation")
    )
    whole = read_region(str(maps), least_mjy=chosen.least_mjy)
    assert np.array_equal(np.concatenate([train.target, validation.target]), whole.target)
    (batch,) = validation_batches(dataclasses.replace(chosen, devices=1), str(maps))
    assert batch["target"].shape == (1, 32, 64, 1)

"""Pairs from synthetic event lists, against the photons that were written into them."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from pps import CELL_S, GRID_EDGE, GRID_SHAPE, GRID_STEP, Pointing, make_pps

from xmm_jax.data import event_pairs
from xmm_jax.data.event_pairs import event_source, find_observations, pieces_ks
from xmm_jax.data.eventimage import make_images, plan_parts, write_event_image
from xmm_jax.data.events import read_event_list
from xmm_jax.data.exposure import ccd_numbers
from xmm_jax.data.flares import quiet_gti
from xmm_jax.data.pps import find_event_files, read_curve
from xmm_jax.data.real import real_source
from xmm_jax.data.schema import check
from xmm_jax.errors import InputError

NEAR, FAR = Pointing(210.9, 54.4, 20.0), Pointing(30.0, -10.0, 300.0)
# The second is beside the first, the third elsewhere; the others cannot be used.
LENGTH = {"0000000001": 35_000.0, "0000000002": 64_000.0, "0000000003": 30_000.0}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Folder of observations as the archive packs them, and the truth about the usable ones."""
    root = tmp_path_factory.mktemp("archive")
    options = {"decoys": False, "short_s": 0.0, "rate": 0.6}
    truth = {}
    for number, pointing in enumerate((Pointing(), NEAR, FAR), 1):
        obs_id = f"{number:010d}"
        truth[obs_id] = make_pps(
            root / obs_id / "pps",
            obs_id=obs_id,
            seed=number,
            pointing=pointing,
            exposure_s=LENGTH[obs_id],
            **options,
        ).longest
    options |= {"exposure_s": 3000.0, "rate": 0.1}
    make_pps(root / "0000000004", obs_id="0000000004", light_curves=False, **options)
    make_pps(root / "0000000005", obs_id="0000000005", submode="PrimeLargeWindow", **options)
    cut = make_pps(root / "0000000006", obs_id="0000000006", **options).longest.events
    cut.write_bytes(cut.read_bytes()[:-2000])
    make_pps(root / "0000000007", obs_id="0000000007", **options)
    (root / "0000000008").mkdir()
    return root, truth


def _drawn(root, **options):
    """Samples of what can be drawn, and why the rest cannot, by observation."""
    source = event_source([root], **options)
    samples, failed = {}, {where.rpartition("/")[2]: why for where, why in source.failed.items()}
    for item, draw in source.draws.items():
        try:
            for sample in draw():
                check(sample)
                assert sample["source_id"] == source.sky[item]
                assert sample["target_kind"] == "observed"
                samples.setdefault(sample["obs_id"], []).append(sample)
        except InputError as error:
            failed[item] = str(error)
    return samples, failed


def _axis(exposure):
    """Good time [s] that each CCD has had at the end of each cell: (12, cells)."""
    return CELL_S * np.cumsum([exposure.good_time(n) for n in range(1, 13)], axis=1)


def _image(exposure, cells):
    """Photons of the good cells given, binned by hand."""
    rows = exposure.rows[exposure.good()]
    rows = rows[cells[np.floor((rows["TIME"] - exposure.start) / CELL_S).astype(int)]]
    sizes = zip(GRID_EDGE, GRID_SHAPE[::-1], strict=True)
    bins = [edge + GRID_STEP * np.arange(n + 1) for edge, n in sizes]
    return np.histogram2d(rows["DETY"], rows["DETX"], bins[::-1])[0].astype(int)


def _pieces(exposure, ks):
    """Which cells belong to piece 1, 2 ...: the CCD that is ahead has `ks` in each."""
    had = _axis(exposure)
    edges = [0]
    while True:
        before = had[:, edges[-1] - 1] if edges[-1] else np.zeros(12)
        ahead = (had - before[:, None]).max(axis=0)
        if ahead[-1] < 1000 * ks:
            break
        edges.append(int(np.argmax(ahead >= 1000 * ks)) + 1)
    cells = np.arange(had.shape[1])
    return [(cells >= a) & (cells < b) for a, b in pairwise(edges)]


def _good_s(exposure, cells):
    """Good time of each CCD in the cells given [s]."""
    return CELL_S * np.array([(exposure.good_time(n) & cells).sum() for n in range(1, 13)])


def _assert_image(counts, exposure, valid, truth, cells):
    """That counts and exposure of an image are those of the cells given."""
    counts, exposure, valid = counts[..., 0], exposure[..., 0], valid[..., 0]
    wanted = _image(truth, cells)
    np.testing.assert_array_equal(counts, wanted * valid)
    assert counts.sum() > 0.94 * wanted.sum()  # the rest fell on pixels that are masked
    np.testing.assert_allclose(
        exposure[valid], _good_s(truth, cells)[ccd_numbers()[valid] - 1], atol=1
    )


def test_pieces_of_a_range():
    assert pieces_ks((20, 20)) == [20]
    assert pieces_ks((5, 50)) == [10, 20, 30, 40, 50]
    assert pieces_ks((12.5, 38)) == [20, 30]


def test_disjoint_pairs_hold_every_photon_once(archive):
    root, truth = archive
    samples, _ = _drawn(root, exposure_ks=(10, 30))
    assert set(samples) == {"0000000001", "0000000002", "0000000003"}
    for obs_id, drawn in samples.items():
        exposure = truth[obs_id]
        total = _axis(exposure)[:, -1].max() / 1000
        wanted = [
            cells for ks in (10, 20, 30) if ks <= 0.8 * total for cells in _pieces(exposure, ks)
        ]
        assert len(drawn) == len(wanted)
        for sample, cells in zip(drawn, wanted, strict=True):
            assert sample["pairing"] == "disjoint"
            images = (sample[name] for name in ("counts", "exposure", "valid"))
            _assert_image(*images, exposure, cells)
            targets = (sample[name] for name in ("target", "target_exposure", "target_valid"))
            _assert_image(*targets, exposure, ~cells)
    assert [round(s["exposure"].max(), -1) for s in samples["0000000001"][:3]] == [1e4] * 3
    assert {s["source_id"] for o in ("0000000001", "0000000002") for s in samples[o]} == {
        "0000000001"
    }
    assert samples["0000000003"][0]["source_id"] == "0000000003"


def test_each_failure_is_told_in_one_line(archive):
    root, _ = archive
    _, failed = _drawn(root)
    reasons = {
        "0000000004": "no flare light curve",
        "0000000005": "not full frame",
        "0000000006": "not a readable FITS file",
        "0000000007": "too short",
        "0000000008": "no pipeline products",
    }
    assert set(failed) == set(reasons)
    for obs_id, reason in reasons.items():
        assert reason in failed[obs_id], failed[obs_id]
        assert "\n" not in failed[obs_id]


def test_unfiltered_lists_are_used_when_asked_for(archive):
    root, _ = archive
    where = root / "0000000004"
    options = {"pairing": "thinned", "exposure_ks": (1, 1)}
    assert not _drawn(where, **options)[0]
    ((sample,),) = _drawn(where, unfiltered=True, **options)[0].values()
    total = sample["exposure"].max() + sample["target_exposure"].max()
    assert total == pytest.approx(3000, abs=1)  # the first quadrant has no gap


def test_nested_pairs_are_labelled(archive):
    root, truth = archive
    samples, failed = _drawn(root, pairing="nested")
    assert set(samples) == {"0000000002"}
    exposure = truth["0000000002"]
    (long,) = _pieces(exposure, 50)
    short = _pieces(exposure, 20)
    assert [s["pairing"] for s in samples["0000000002"]] == ["nested"] * len(short)
    for sample, cells in zip(samples["0000000002"], short, strict=True):
        images = (sample[name] for name in ("counts", "exposure", "valid"))
        _assert_image(*images, exposure, cells)
        targets = (sample[name] for name in ("target", "target_exposure", "target_valid"))
        _assert_image(*targets, exposure, long)
    assert "too short" in failed["0000000001"] or "no part" in failed["0000000001"]


def test_thinned_pairs_of_any_exposure(archive):
    root, truth = archive
    samples, _ = _drawn(root / "0000000003", pairing="thinned", n=3, exposure_ks=(5, 15))
    (drawn,) = samples.values()
    exposure = truth["0000000003"]
    everything = np.ones(_axis(exposure).shape[1], bool)
    times = [sample["exposure"].max() for sample in drawn]
    assert len(set(times)) == 3
    assert all(5e3 <= time <= 15e3 for time in times)
    for sample, time in zip(drawn, times, strict=True):
        assert sample["pairing"] == "thinned"
        both = sample["counts"] + sample["target"].astype(int)
        time_of_both = sample["exposure"] + sample["target_exposure"]
        _assert_image(both, time_of_both, sample["valid"], exposure, everything)
        share = time / time_of_both.max()
        assert abs(sample["counts"].sum() / both.sum() - share) < 4 * (0.25 / both.sum()) ** 0.5


def test_images_that_were_written_give_the_same_pairs(archive, tmp_path):
    root, _ = archive
    where = root / "0000000003"
    events = read_event_list(find_event_files(where).events)
    quiet = quiet_gti(read_curve(find_event_files(where)))
    (image,) = make_images(events, plan_parts(events, quiet, expo_time_ks=0))
    path = write_event_image(tmp_path / "image.fits.gz", image)
    options = {"pairing": "thinned", "exposure_ks": (5, 15), "seed": 3}
    ((first,),) = _drawn(where, **options)[0].values()
    second = real_source([path], **options)
    ((again,),) = (list(draw()) for draw in second.draws.values())
    for name, value in first.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_sources_travel_to_other_processes(archive):
    where = archive[0] / "0000000003"
    for pairing in ("disjoint", "thinned"):
        there = pickle.loads(pickle.dumps(event_source([where], pairing=pairing).draws))
        assert next(iter(there["0000000003"]()))["pairing"] == pairing


def test_many_pairs_read_a_list_once(archive, monkeypatch):
    source = event_source([archive[0] / "0000000003"], pairing="thinned", n=70)
    assert list(source.draws) == ["0000000003#0", "0000000003#32", "0000000003#64"]
    read, opened = [], event_pairs._open
    monkeypatch.setattr(event_pairs, "_open", lambda *given: read.append(0) or opened(*given))
    event_pairs._whole.cache_clear()
    for draw in source.draws.values():
        next(iter(draw()))
    assert len(read) == 1


def test_two_exposures_of_one_observation_are_one_sky(synthetic_pps):
    lists = [exposure.events for exposure in synthetic_pps.exposures.values()]
    source = event_source(lists, pairing="thinned", exposure_ks=(2, 4))
    assert list(source.draws) == [f"{synthetic_pps.obs_id}/{path.name}" for path in lists]
    assert set(source.sky.values()) == {synthetic_pps.obs_id}
    totals = [
        sample["exposure"].max() + sample["target_exposure"].max()
        for draw in source.draws.values()
        for sample in draw()
    ]
    assert totals[0] < 6e3 < totals[1]


def test_where_observations_are_looked_for(archive, tmp_path):
    root, truth = archive
    assert [path.name for path in find_observations([root])] == [f"{n:010d}" for n in range(1, 9)]
    first = truth["0000000001"].events
    assert find_observations([first, root / "0000000002"]) == [first, root / "0000000002"]
    assert find_observations([root / "0000000002" / "pps"]) == [root / "0000000002" / "pps"]
    with pytest.raises(InputError, match="no such file or folder"):
        find_observations([tmp_path / "nowhere"])
    with pytest.raises(InputError, match=r"no usable event list; .*no pipeline products"):
        event_source([tmp_path])
    with pytest.raises(InputError, match="pairs of event lists are"):
        event_source([root], pairing="simulated")

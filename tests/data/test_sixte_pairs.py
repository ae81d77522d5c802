from collections import defaultdict

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.schema import check
from xmm_jax.data.sixte_pairs import sixte_source
from xmm_jax.data.splits import split_sources
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN

HALOS = range(6)
SKIES = range(6)
LIVE = np.ones(PN.shape, bool)
LIVE[:, 65:67] = False
MASKS = {"sr": (LIVE, LIVE.repeat(2, 0).repeat(2, 1)), "dn": (LIVE, LIVE)}
# Every component marks pixels of its own, so that a sum tells what is in it and how often.
ROW = {"img": 100, "agn": 200, "background": 300}


def _img(halo, upscale, ks, part, view=0):
    return (
        f"TNG50_1_z_99_subhalos_{halo}_m_proj_r_2048_w_400_n_0_0_1_sb_{view}_mult_{upscale}_{ks}ks_"
        f"p_{part}-{100 // ks - 1}.fits.gz"
    )


def _agn(sky, upscale, ks, part):
    return f"agn_abs_1.{sky}_{sky}_p0_0.5ev_mult_{upscale}_{ks}ks_p_{part}-{100 // ks - 1}.fits.gz"


def _write(root, kind, name, number, ks, part, upscale=1):
    """Ten photons per 10 ks in the pixel of each 10 ks stretch: parts are exact cuts of 100 ks."""
    counts = np.zeros((upscale * PN.shape[0], upscale * PN.shape[1]), np.int16)
    stretches = range(part * ks // 10, (part + 1) * ks // 10)
    for stretch in stretches:
        counts[upscale * (ROW[kind] + stretch), upscale * (10 + 10 * number)] = 10
    folder = root / f"{ks}ks" / kind / f"{upscale}x"
    folder.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(counts, fits.Header({"EXPOSURE": 1000 * ks})).writeto(folder / name)


def _layout(root, parts_20, parts_50, *, views=1, nested_background=False):
    for halo in HALOS:
        for view in range(views):
            for part in parts_20:
                _write(root, "img", _img(halo, 1, 20, part, view), halo, 20, part)
            for part in parts_50:
                _write(root, "img", _img(halo, 1, 50, part, view), halo, 50, part)
            _write(root, "img", _img(halo, 2, 100, 0, view), halo, 100, 0, 2)
    for sky in SKIES:
        for ks, parts in ((20, (0, 4)), (50, (0, 1))):
            for part in parts:
                _write(root, "agn", _agn(sky, 1, ks, part), sky, ks, part)
        _write(root, "agn", _agn(sky, 2, 100, 0), sky, 100, 0, 2)
        for ks in (20, 50):
            number = sky if nested_background or ks == 20 else sky + len(SKIES)
            _write(
                root, "background", f"background_mult_1_{ks}ks_{ks}0{sky}.fits.gz", number, ks, 0
            )
    return root


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return _layout(tmp_path_factory.mktemp("full"), (0, 1, 4), (0, 1), views=2)


@pytest.fixture(scope="module")
def first_parts(tmp_path_factory):
    return _layout(tmp_path_factory.mktemp("first"), (0,), (0,))


def _draw(root, task="dn", **options):
    source = sixte_source(root, task=task, masks=MASKS[task], **options)
    samples = {name: list(draw()) for name, draw in source.draws.items()}
    for name, drawn in samples.items():
        for sample in drawn:
            check(sample)
            assert sample["source_id"] == name
    return samples


def _stretches(image, kind, upscale=1):
    """Which 10 ks stretches of which number an image holds, from the marked pixels."""
    marked = {}
    for row, column in np.argwhere(image[..., 0][:: 1 if upscale == 1 else upscale] > 0):
        stretch = row - ROW[kind]
        if 0 <= stretch < 10:
            marked.setdefault(int(column / upscale - 10) // 10, set()).add(int(stretch))
    return marked


def test_every_view_of_every_halo_n_times(full):
    samples = _draw(full, n=3)
    assert set(samples) == {f"TNG50-{halo}" for halo in HALOS}
    assert all(len(drawn) == 2 * 3 for drawn in samples.values())
    assert len({s["obs_id"] for drawn in samples.values() for s in drawn}) == 6 * 2 * 3


def test_sr_pairs_show_the_same_sky(full):
    for drawn in _draw(full, "sr", n=4).values():
        for sample in drawn:
            assert sample["pairing"] == "simulated"
            assert sample["target_kind"] == "observed"
            assert sample["exposure"].max() == 20_000
            assert sample["target_exposure"].max() == 100_000
            halo = int(sample["source_id"][6:])
            assert list(_stretches(sample["counts"], "img")) == [halo]
            assert _stretches(sample["target"], "img", 2) == {halo: set(range(10))}
            sky = list(_stretches(sample["counts"], "agn"))
            assert list(_stretches(sample["target"], "agn", 2)) == sky
            assert _stretches(sample["counts"], "background")
            assert not _stretches(sample["target"], "background", 2)
            assert not sample["counts"][~LIVE].any()


def test_parts_without_common_photons_are_taken_where_they_exist(full):
    for drawn in _draw(full, n=4).values():
        for sample in drawn:
            assert sample["pairing"] == "simulated"
            assert sample["target_exposure"].max() == 50_000
            for kind in ("img", "agn"):
                ((number, first),) = _stretches(sample["counts"], kind).items()
                ((other, second),) = _stretches(sample["target"], kind).items()
                assert number == other
                assert len(first) == 2
                assert len(second) == 5
                assert not first & second


def test_else_the_input_is_subtracted_and_the_rest_thinned(first_parts):
    total = []
    for drawn in _draw(first_parts, n=8).values():
        for sample in drawn:
            assert sample["pairing"] == "disjoint"
            assert sample["target_exposure"].max() == 30_000
            (first,) = _stretches(sample["counts"], "img").values()
            (second,) = _stretches(sample["target"], "img").values()
            assert (first, second) == ({0, 1}, {2, 3, 4})
            background = sample["target"][ROW["background"] : ROW["background"] + 10]
            total.append(background.sum() / 50)
    # Backgrounds are independent simulations of 50 ks: 3/5 of their photons stay.
    assert abs(np.mean(total) - 0.6) < 4 * (0.6 * 0.4 / (50 * len(total))) ** 0.5


def test_contained_backgrounds_are_found_by_their_photons(tmp_path):
    _layout(tmp_path, (0, 4), (0, 1), nested_background=True)
    for drawn in _draw(tmp_path).values():
        for sample in drawn:
            assert sample["pairing"] == "disjoint"
            assert sample["target_exposure"].max() == 30_000
            (first,) = _stretches(sample["counts"], "background").values()
            (second,) = _stretches(sample["target"], "background").values()
            assert (first, second) == ({0, 1}, {2, 3, 4})


def test_nested_pairs_are_labelled_as_what_they_are(first_parts, full):
    for drawn in _draw(first_parts, pairing="nested").values():
        assert {sample["pairing"] for sample in drawn} == {"nested"}
        assert {float(sample["target_exposure"].max()) for sample in drawn} == {50_000.0}
    labels = defaultdict(set)
    for drawn in _draw(full, n=6, pairing="nested").values():
        for sample in drawn:
            shared = False
            for kind in ("img", "agn"):
                (first,) = _stretches(sample["counts"], kind).values()
                (second,) = _stretches(sample["target"], kind).values()
                shared |= bool(first & second)
            labels[shared].add(sample["pairing"])
    assert labels == {True: {"nested"}, False: {"simulated"}}


def test_seed_decides(full):
    one, again, other = (_draw(full, n=2, seed=seed) for seed in (0, 0, 1))
    same = []
    for name, drawn in one.items():
        for a, b, c in zip(drawn, again[name], other[name], strict=True):
            np.testing.assert_array_equal(a["counts"], b["counts"])
            np.testing.assert_array_equal(a["target"], b["target"])
            same.append((a["counts"] == c["counts"]).all())
    assert not all(same)


@pytest.mark.parametrize("seed", [0, 3])
def test_splits_share_neither_point_sources_nor_backgrounds(full, seed):
    split = split_sources([f"TNG50-{halo}" for halo in HALOS], seed=seed)
    seen = {"agn": defaultdict(set), "background": defaultdict(set)}
    for name, drawn in _draw(full, n=6, seed=seed).items():
        for sample in drawn:
            for kind, used in seen.items():
                used[split[name]].update(_stretches(sample["counts"], kind))
    for used in seen.values():
        assert len(used) == 3
        assert sum(map(len, used.values())) == len(set.union(*used.values()))


def test_errors(full, tmp_path):
    with pytest.raises(InputError, match="SIXTE pairs are disjoint or nested"):
        sixte_source(full, task="dn", pairing="thinned")
    with pytest.raises(InputError, match="no img images; expected the published layout"):
        sixte_source(tmp_path, task="sr")
    _write(tmp_path, "img", _img(1, 1, 20, 0), 1, 20, 0)
    _write(tmp_path, "img", _img(2, 2, 100, 0), 2, 100, 0, 2)
    with pytest.raises(InputError, match="no img image has both 20 ks at 1x and 100 ks at 2x"):
        sixte_source(tmp_path, task="sr")
    root = _layout(tmp_path / "partial", (2,), (0, 1))
    with pytest.raises(InputError, match="shares some of its photons; use --pairing=nested"):
        _draw(root)


def test_names_that_lie(tmp_path):
    root = _layout(tmp_path, (0,), (0,))
    for path in (root / "50ks" / "img" / "1x").iterdir():
        path.unlink()
    for halo in HALOS:
        _write(root, "img", _img(halo, 1, 50, 0), halo + 10, 50, 0)
    with pytest.raises(InputError, match=r"does not contain .* although their names say so"):
        _draw(root)


@pytest.mark.reference
def test_published_components(shared):
    sim = shared / "data" / "sim"
    for task, pairing in (("sr", "simulated"), ("dn", "disjoint")):
        source = sixte_source(sim, task=task)
        assert set(source.draws) == {"TNG100-343638", "TNG300-415728", "TNG50-448830"}
        for draw in source.draws.values():
            (sample,) = draw()
            check(sample)
            assert sample["pairing"] == pairing
            # Halos outshine the background, which the sr target lacks: rates agree roughly.
            rate, target = (
                sample[counts].sum() / sample[time].max()
                for counts, time in (("counts", "exposure"), ("target", "target_exposure"))
            )
            assert 0.55 < target / rate < (1.03 if task == "dn" else 0.97)

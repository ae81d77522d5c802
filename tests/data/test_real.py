import pickle

import numpy as np
import pytest
from astropy.io import fits

from xmm_jax.data.exposure import ccd_numbers
from xmm_jax.data.real import find_files, parse_name, real_source
from xmm_jax.data.schema import check
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask

LIVE = mask(PN, 1)
RATE = np.linspace(0.2, 3, 411 * 403).reshape(411, 403)  # [count / 10 ks]
SPLIT = "{}_image_split_500_2000_{}ks_{}_{}.fits"
FULL = "{}_image_500_2000_{:.2f}ks.fits.gz"
# A field, a second one 12 arcmin from it, a third 12 arcmin from the second, one far away.
POINTING = {
    "0111111101": (40.0, 60.0),
    "0222222201": (40.0, 60.2),
    "0333333301": (40.0, 60.4),
    "0444444401": (220.0, -60.0),
}


def _write(root, folder, name, counts, exposure_s, obs_id, **cards):
    ra, dec = POINTING.get(obs_id, (0.0, 0.0))
    header = {"OBS_ID": obs_id, "EXPOSURE": exposure_s, "RA_PNT": ra, "DEC_PNT": dec}
    header |= {"INSTRUME": "EPN", "SUBMODE": "PrimeFullWindow", "FILTER": "Medium"}
    (root / folder).mkdir(parents=True, exist_ok=True)
    data = counts.astype(np.int32)
    fits.PrimaryHDU(data, fits.Header(header | cards)).writeto(root / folder / name)


def _observation(root, obs_id, total_ks, **cards):
    """Ten-kilosecond stretches, added up as the published parts are."""
    rng = np.random.default_rng(int(obs_id))
    stretches = rng.poisson(RATE, (total_ks // 10, 411, 403)).astype(np.int32)
    _write(
        root,
        "full",
        FULL.format(obs_id, total_ks),
        stretches.sum(0),
        1e3 * total_ks,
        obs_id,
        **cards,
    )
    for ks in (20, 50):
        parts = total_ks // ks
        for part in range(1, parts + 1):
            some = stretches[(part - 1) * ks // 10 : part * ks // 10].sum(0)
            _write(
                root,
                f"{ks}ks",
                SPLIT.format(obs_id, ks, parts, part),
                some,
                1e3 * ks,
                obs_id,
                **cards,
            )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    for obs_id in POINTING:
        _observation(folder, obs_id, 100 if obs_id == "0222222201" else 50)
    return folder


def _draw(*paths, **options):
    source = real_source(paths, **options)
    assert not source.failed
    samples = {}
    for item, draw in source.draws.items():
        drawn = list(draw())
        samples.setdefault(source.sky[item], []).extend(drawn)
        for sample in drawn:
            check(sample)
            assert sample["source_id"] == source.sky[item]
            assert sample["target_kind"] == "observed"
    return samples


def _images(root, obs_id):
    """Published images of an observation, shortest first."""
    named = [image for path in find_files([root]) if (image := parse_name(path))]
    return sorted((i for i in named if i.obs_id == obs_id), key=lambda image: image.exposure_ks)


def test_grammar():
    part = parse_name("0724270101_image_split_500_2000_20ks_5_3.fits.gz")
    assert (part.obs_id, part.exposure_ks, part.part) == ("0724270101", 20, 3)
    whole = parse_name("0724270101_image_500_2000_101.45ks.fits")
    assert (whole.obs_id, whole.exposure_ks, whole.part) == ("0724270101", 101.45, 0)
    for name in ("a.fits", "0724270101_image_split_500_2000_20ks.fits", "TNG50_1_z_99.fits"):
        assert parse_name(name) is None


def test_observations_of_one_sky_are_one_source(root):
    samples = _draw(root)
    # The third sees nothing of the first, but the second links them.
    assert {name: {s["obs_id"] for s in drawn} for name, drawn in samples.items()} == {
        "0111111101": {"0111111101", "0222222201", "0333333301"},
        "0444444401": {"0444444401"},
    }


def test_disjoint_targets_are_the_rest_of_the_observation(root):
    for drawn in _draw(root).values():
        for sample in drawn:
            assert sample["pairing"] == "disjoint"
            assert sample["filter"] == "medium"
            images = _images(root, sample["obs_id"])
            whole = fits.getdata(images[-1].path)
            both = sample["counts"] + sample["target"].astype(int)
            np.testing.assert_array_equal(both[..., 0], whole * LIVE)
            assert sample["exposure"].max() == 20_000
            assert sample["target_exposure"].max() == 1000 * images[-1].exposure_ks - 20_000
    assert len(_draw(root)["0111111101"]) == 2 + 5 + 2


def test_nested_targets_are_the_50_ks_images(root):
    labels = [s["pairing"] for s in _draw(root, pairing="nested")["0111111101"]
              if s["obs_id"] == "0222222201"]  # fmt: skip
    # Parts 1, 2 of 20 ks lie in the first 50 ks, 3 in both, 4, 5 in the second.
    assert labels == ["nested", "disjoint"] * 2 + ["nested"] * 2 + ["disjoint", "nested"] * 2


def test_thinned_pairs_share_out_the_photons(root):
    drawn = _draw(root, pairing="thinned", n=2, seed=4)["0444444401"]
    whole = fits.getdata(_images(root, "0444444401")[-1].path) * LIVE
    assert len(drawn) == 2
    for sample in drawn:
        np.testing.assert_array_equal(sample["counts"][..., 0] + sample["target"][..., 0], whole)
        assert sample["exposure"].max() == pytest.approx(20_000)
        assert sample["target_exposure"].max() == pytest.approx(30_000)
        share = sample["counts"].sum() / whole.sum()
        assert abs(share - 0.4) < 4 * (0.4 * 0.6 / whole.sum()) ** 0.5
    assert (drawn[0]["counts"] != drawn[1]["counts"]).any()
    again = _draw(root, pairing="thinned", n=2, seed=4)["0444444401"]
    np.testing.assert_array_equal(drawn[1]["counts"], again[1]["counts"])
    other = _draw(root, pairing="thinned", n=2, seed=5)["0444444401"]
    assert (drawn[1]["counts"] != other[1]["counts"]).any()


def test_exposure_is_kept_per_ccd(tmp_path):
    obs_id = "0444444401"
    counts = np.ones((411, 403))
    for folder, name, ks in (
        ("20ks", SPLIT.format(obs_id, 20, 2, 1), 20),
        ("full", FULL.format(obs_id, 50), 50),
    ):
        ontime = {f"ONTIME{n:02d}": 1e3 * ks - 100 * n * ks / 20 for n in range(1, 13)}
        _write(tmp_path, folder, name, counts, ontime["ONTIME01"], obs_id, **ontime)
    for pairing in ("disjoint", "thinned"):
        ((sample,),) = _draw(tmp_path, pairing=pairing).values()
        first, second = sample["exposure"][..., 0][LIVE], sample["target_exposure"][..., 0][LIVE]
        ccd = ccd_numbers()[LIVE]
        np.testing.assert_allclose(first + second, 50_000 - 250.0 * ccd, rtol=1e-5)
        if pairing == "disjoint":
            np.testing.assert_allclose(first, 20_000 - 100.0 * ccd, rtol=1e-6)


def test_pixels_without_further_exposure_are_not_valid(tmp_path):
    obs_id = "0444444401"
    ontime = {f"ONTIME{n:02d}": 2e4 for n in range(1, 13)}
    counts = np.ones((411, 403))
    _write(tmp_path, "20ks", SPLIT.format(obs_id, 20, 2, 1), counts, 2e4, obs_id, **ontime)
    later = dict.fromkeys(ontime, 5e4) | {"ONTIME06": 2e4 + 0.3}
    _write(tmp_path, "full", FULL.format(obs_id, 50), counts, 5e4, obs_id, **later)
    ((sample,),) = _draw(tmp_path).values()
    dead = ~sample["target_valid"][..., 0] & LIVE
    np.testing.assert_array_equal(dead, LIVE & (ccd_numbers() == 6))


def test_inputs_of_any_exposure(root):
    drawn = _draw(root, pairing="thinned", n=40, exposure_ks=(5, 100), seed=1)
    assert [len(samples) for samples in drawn.values()] == [120, 40]
    times = np.array([s["exposure"].max() for s in drawn["0444444401"]]) / 1e3
    # Even in the logarithm between 5 and 0.8 of the 50 ks of the observation.
    place = np.log(times / 5) / np.log(40 / 5)
    assert place.min() >= 0
    assert place.max() <= 1
    assert abs(place.mean() - 0.5) < 4 / 12**0.5 / 40**0.5
    assert abs(place.std() - 12**-0.5) < 0.08
    whole = fits.getdata(_images(root, "0444444401")[-1].path) * LIVE
    for sample, ks in zip(drawn["0444444401"], times, strict=True):
        share = sample["counts"].sum() / whole.sum()
        assert abs(share - ks / 50) < 5 * (0.25 / whole.sum()) ** 0.5
        np.testing.assert_array_equal(sample["counts"][..., 0] + sample["target"][..., 0], whole)
        both = (sample["exposure"] + sample["target_exposure"])[..., 0]
        np.testing.assert_allclose(both[LIVE], 5e4, rtol=1e-6)
    items = real_source([root], pairing="thinned", n=40).draws
    assert list(items)[-2:] == ["0444444401#0", "0444444401#32"]


@pytest.mark.parametrize(
    ("pairing", "label", "expected"),
    [
        ("thinned", "thinned", 0),
        ("disjoint", "disjoint", 0),
        ("nested", "nested", (20 / 50) ** 0.5),
    ],
)
def test_correlation_of_the_noise(root, pairing, label, expected):
    # What is left of counts when their known mean is taken away is noise. Two images that share
    # no photon have independent noise; 20 ks within 50 ks give cov / sigma^2 = 20 / sqrt(20 * 50).
    noise = {"counts": [], "target": []}
    for obs_id, drawn in _draw(root, pairing=pairing, n=3, seed=2).items():
        for sample in drawn:
            # Part 3 of the long observation lies half in either 50 ks.
            if sample["pairing"] != label or (obs_id, pairing) == ("0111111101", "nested"):
                continue
            for name, time in (("counts", "exposure"), ("target", "target_exposure")):
                mean = RATE * sample[time][..., 0] / 1e4
                noise[name].append(((sample[name][..., 0] - mean)[LIVE]) / np.sqrt(mean[LIVE]))
    assert len(noise["counts"]) >= 2
    first, second = (np.concatenate(images) for images in noise.values())
    assert abs((first * second).mean() - expected) < 0.02
    for one in (first, second):
        assert abs(one.mean()) < 0.02
        assert abs(one.var() - 1) < 0.02


def test_images_of_any_name_can_be_thinned(root, tmp_path):
    counts = np.random.default_rng(0).poisson(3 * RATE)
    _write(tmp_path, ".", "P0555555501PNS003_detxy.fits", counts, 3e4, "0555555501")
    _write(tmp_path, "mine", "b.fits", counts + 1, 6e4, "0555555501")
    published = _images(root, "0444444401")[0].path
    samples = _draw(tmp_path, published, pairing="thinned", exposure_ks=(10, 10))
    assert set(samples) == {"0444444401", "0555555501"}
    both = samples["0555555501"][0]["counts"] + samples["0555555501"][0]["target"]
    np.testing.assert_array_equal(both[..., 0], (counts + 1) * LIVE)  # the longer of the two


def test_what_cannot_be_used_is_told(root, tmp_path):
    obs_id, counts = "0555555501", np.ones((411, 403))
    _write(tmp_path, "full", FULL.format(obs_id, 21), counts, 2.1e4, obs_id)
    good = str(_images(root, "0444444401")[-1].path)
    (tmp_path / "full" / "cut.fits").write_bytes(b"SIMPLE  =")
    source = real_source([tmp_path, good], pairing="thinned")
    assert set(source.draws) == {"0444444401"}
    assert set(source.failed) == {obs_id, "full/cut.fits"}
    assert "need images of one above 25 ks" in source.failed[obs_id]
    assert "not a readable FITS file" in source.failed["full/cut.fits"]


def test_sources_travel_to_other_processes(root):
    for pairing in ("disjoint", "thinned"):
        there = pickle.loads(pickle.dumps(real_source([root], pairing=pairing).draws))
        assert next(iter(there["0444444401"]()))["obs_id"] == "0444444401"


def test_errors(root, tmp_path):
    with pytest.raises(InputError, match="pairs of real images are disjoint, nested, thinned"):
        real_source([root], pairing="simulated")
    with pytest.raises(InputError, match="no images; expected"):
        real_source([tmp_path])
    obs_id, counts = "0444444401", np.ones((411, 403))
    _write(tmp_path, "20ks", SPLIT.format(obs_id, 20, 1, 1), 2 * counts, 2e4, obs_id)
    for pairing in ("disjoint", "nested", "thinned"):
        with pytest.raises(InputError, match="no observation has the images"):
            real_source([tmp_path], pairing=pairing)
    _write(tmp_path, "full", FULL.format(obs_id, 24), counts, 2.4e4, obs_id)
    with pytest.raises(InputError, match="need images of 20 ks and one above 25 ks"):
        real_source([tmp_path])
    _write(tmp_path, "full", FULL.format(obs_id, 25), counts, 2.5e4, obs_id)
    with pytest.raises(InputError, match=r"does not contain .*cannot be its disjoint target"):
        _draw(tmp_path)


@pytest.mark.reference
def test_published_images(shared):
    root = shared / "data" / "real"
    samples = _draw(root)
    # NGC 1399 and NGC 1404 lie in each other's field of view.
    assert {name: [s["obs_id"] for s in drawn] for name, drawn in samples.items()} == {
        "0085110101": ["0085110101"],
        "0400620101": ["0400620101", "0781350101"],
        "0724270101": ["0724270101"],
    }
    perseus = samples["0085110101"][0]
    # Upper left and upper right quadrants: on times of CCDs 1 and 4 in the two files.
    assert perseus["target_exposure"][300, 100, 0] == pytest.approx(51203.6 - 20000, abs=1)
    assert perseus["target_exposure"][300, 300, 0] == pytest.approx(28002.7 - 10812.2, abs=1)
    for drawn in samples.values():
        for sample in drawn:
            valid = sample["target_valid"]
            rate, target = (
                (sample[counts][valid] / sample[time][valid]).sum()
                for counts, time in (("counts", "exposure"), ("target", "target_exposure"))
            )
            assert abs(target / rate - 1) < 0.08  # flares
    nested = _draw(root, pairing="nested")
    labels = {s["obs_id"]: s["pairing"] for drawn in nested.values() for s in drawn}
    assert labels == {
        "0085110101": "nested",
        "0724270101": "nested",
        "0781350101": "nested",
        "0400620101": "disjoint",
    }

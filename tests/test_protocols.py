"""Fields that images are judged on."""

import numpy as np
import pytest

from xmm_jax.config import SimulatedConfig
from xmm_jax.errors import InputError
from xmm_jax.protocols import FIRST, digest, real_fields, simulated_fields, sixte_fields


@pytest.fixture(scope="module")
def drawn():
    return list(simulated_fields("dn", SimulatedConfig(fields=2), seed=5))


@pytest.mark.slow
def test_simulated_fields_know_their_truth(drawn):
    for field in drawn:
        catalogue, sample = field.catalogue, field.sample
        assert field.protocol == "simulated"
        assert sample["target_kind"] == "expected"
        points = catalogue["component"] == "point"
        assert points.sum() > 50
        # The brightest point source well inside the field lies on a peak of the noise-free target.
        x, y, rate = (catalogue[name][points] for name in ("x", "y", "rate"))
        inside = np.hypot(x - 200.5, y - 205) < 150
        k = np.flatnonzero(inside)[rate[inside].argmax()]
        row, column = round(float(y[k])), round(float(x[k]))
        target = sample["target"][..., 0]
        ring = target[row - 12 : row + 13, column - 12 : column + 13]
        assert target[row, column] > 3 * np.median(ring[ring > 0])


@pytest.mark.slow
def test_the_set_is_the_same_whoever_asks(drawn):
    again = simulated_fields("dn", SimulatedConfig(fields=2), seed=5)
    assert digest(iter(drawn)) == digest(again)
    assert digest(iter(drawn[:1])) != digest(iter(drawn))


def test_sets_do_not_meet_training():
    assert FIRST["test"] < FIRST["tuning"] < 2**31 - 2**16
    assert FIRST["test"] > 1_234_000 * 64  # fields of the paper's run, 64 to a batch


@pytest.mark.reference
def test_real_fields(shared):
    disjoint = {f.name: f for f in real_fields(shared / "data/real", "disjoint")}
    nested = {f.name: f for f in real_fields(shared / "data/real", "nested")}
    assert set(disjoint) == set(nested)
    assert len(disjoint) == 4
    assert {f.protocol for f in disjoint.values()} == {"disjoint"}
    # Of the four, one published pair has no common photons (NGC 1399).
    assert [name for name, f in nested.items() if f.protocol == "disjoint"] == ["0400620101"]


@pytest.mark.reference
def test_photons_of_real_fields_dealt_at_random(shared):
    first, again, other = (
        {f.name: f for f in real_fields(shared / "data/real", "thinned", seed=seed)}
        for seed in (0, 0, 1)
    )
    assert len(first) == 4
    for name, field in first.items():
        sample = field.sample
        assert field.protocol == "thinned"
        assert field.wcs is not None
        assert sample["exposure"].max() == pytest.approx(20_000)
        # Every photon once: together they are the whole image, in the ratio of the exposures.
        assert sample["target_exposure"].max() > 20_000
        seen, kept = sample["counts"].sum(), sample["target"].sum()
        share = 20_000 / (20_000 + sample["target_exposure"].max())
        assert abs(seen - share * (seen + kept)) < 5 * np.sqrt(share * (1 - share) * (seen + kept))
        np.testing.assert_array_equal(sample["counts"], again[name].sample["counts"])
        moved = other[name].sample
        assert (sample["counts"] != moved["counts"]).any()
        np.testing.assert_array_equal(
            sample["counts"] + sample["target"], moved["counts"] + moved["target"]
        )


@pytest.mark.reference
def test_published_simulations(shared):
    fields = list(sixte_fields(shared / "data/sim", "sr"))
    assert [f.name.split("_")[0] for f in fields] == ["TNG100", "TNG300", "TNG50"]
    for field in fields:
        assert field.sample["target"].shape == (822, 806, 1)
        assert np.unique(field.sample["target_exposure"]).tolist() == [0, 100_000]


@pytest.mark.parametrize("task", ["sr", "dn"])
def test_no_published_simulations(task, tmp_path):
    with pytest.raises(InputError, match="no co-added images"):
        list(sixte_fields(tmp_path, task))

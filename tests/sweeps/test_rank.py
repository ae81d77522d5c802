import json

import numpy as np
import pytest
from scipy import stats

from xmm_jax.errors import InputError
from xmm_jax.sweeps.page import RankConfig, write_ranking
from xmm_jax.sweeps.rank import (
    Row,
    columns_of,
    common_figures,
    correlations,
    kept_by_paper,
    scores,
)
from xmm_jax.sweeps.study import work

RNG = np.random.default_rng(0)
NAMES = ("linear/PSNR", "linear/L1", "log/SSIM")


def row(number=0, loss=0.1, failed="", **point):
    figures = dict(zip(NAMES, RNG.uniform(0, 1, 3), strict=True))
    return Row(
        number, {k.replace("__", "."): v for k, v in point.items()}, loss, figures, failed, 1.0
    )


def test_score_is_the_sum_of_figures_from_best_to_worst():
    rows = [row(i) for i in range(7)]
    by_hand = np.zeros(7)
    for name, sign in zip(NAMES, (-1, 1, -1), strict=True):  # PSNR and SSIM: more is better
        values = [sign * one.figures[name] for one in rows]
        by_hand += [(v - min(values)) / (max(values) - min(values)) for v in values]
    assert np.allclose(scores(rows, NAMES), by_hand)
    best = rows[0]._replace(figures={"linear/PSNR": 2.0, "linear/L1": -1.0, "log/SSIM": 2.0})
    assert scores([best, *rows[1:]], NAMES)[0] == 0.0
    assert np.array_equal(scores([rows[0]] * 3, NAMES), np.zeros(3))


def test_filter_of_the_paper():
    kept = {"batch_size": "4", "optim__learning_rate": "1e-4"}
    assert kept_by_paper(row(**kept))
    assert not kept_by_paper(row(loss=0.434, **kept))
    assert not kept_by_paper(row(loss=float("nan"), **kept))
    assert not kept_by_paper(row(**kept | {"batch_size": "8"}))
    for rate, good in (("5e-4", False), ("5e-5", True), ("1e-5", False)):
        assert kept_by_paper(row(**kept | {"optim__learning_rate": rate})) == good


def test_settings_as_numbers():
    settings = (("1e-3", "l1", "log"), ("1e-4", "l1+psnr", "sqrt"), ("1e-5", "psnr", "log"))
    names = ("optim.learning_rate", "loss", "network.stretch")
    rows = [row()._replace(point=dict(zip(names, some, strict=True))) for some in settings]
    columns = columns_of(rows)
    assert columns["log learning_rate"].tolist() == pytest.approx([-3, -4, -5])
    assert columns["l1"].tolist() == [1, 1, 0]
    assert columns["psnr"].tolist() == [0, 1, 1]
    assert columns["log"].tolist() == [1, 0, 1]
    assert "ssim" not in columns  # nowhere, so it explains nothing


def test_correlations_are_pearsons():
    one = {"a": RNG.normal(size=9), "flat": np.ones(9)}
    other = {"b": RNG.normal(size=9), "c": RNG.normal(size=9)}
    table = correlations(one, other)
    for j, values in enumerate(other.values()):
        assert table[0, j] == pytest.approx(stats.pearsonr(one["a"], values).statistic)
    assert np.isnan(table[1]).all()


def test_only_figures_of_all_trials_count():
    rows = [row(), row()]
    rows[1].figures["linear/L1"] = float("nan")
    rows[0].figures["linear/MS_SSIM"] = 0.5
    assert common_figures(rows) == ["linear/PSNR", "log/SSIM"]
    assert common_figures([]) == []


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    pytest.importorskip("optuna")
    folder = tmp_path_factory.mktemp("study")
    axes = {"batch_size": ("2", "8"), "loss": ("l1", "psnr", "l1+psnr")}
    points = [{"batch_size": b, "loss": loss} for b in axes["batch_size"] for loss in axes["loss"]]

    def run(number):
        figures = {name: float(number + i) for i, name in enumerate(NAMES)}
        failed = {4: "validation loss 2.44", 5: "blank <images>"}.get(number, "")
        return {"loss": 0.1 * number, "figures": figures, "failed": failed, "seconds": 1.0}

    work(folder, axes, points, run)
    return folder


def test_page(study):
    pytest.importorskip("matplotlib")
    said = write_ranking(RankConfig(study=str(study)))
    assert "score" in said.splitlines()[0]
    assert "batch_size=" in said.splitlines()[1]
    ranking = study / "ranking"
    listed = json.loads((ranking / "ranking.json").read_text())
    assert len(listed) == 4
    assert [one["score"] for one in listed] == sorted(one["score"] for one in listed)
    # PSNR and SSIM grow with the number, L1 too: two figures to one.
    assert listed[0]["number"] == 3
    page = (ranking / "ranking.html").read_text()
    assert "blank &lt;images&gt;" in page
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    for name in ("correlation.png", "parallel.png"):
        assert (ranking / name).read_bytes().startswith(b"\x89PNG")
    write_ranking(RankConfig(study=str(study)))  # a later look replaces it
    assert json.loads((ranking / "ranking.json").read_text()) == listed


def test_a_high_loss_may_be_no_fault(study, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "ranking"
    write_ranking(RankConfig(study=str(study), high_loss=True, out=str(out)))
    listed = json.loads((out / "ranking.json").read_text())
    assert [one["number"] for one in listed] == [4, 3, 2, 1, 0]  # not 5, which is blank


def test_rules_and_stretch(study, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "ranking"
    write_ranking(RankConfig(study=str(study), rules="paper", stretch="log", out=str(out)))
    listed = json.loads((out / "ranking.json").read_text())
    assert {one["point"]["batch_size"] for one in listed} == {"2"}
    assert [one["score"] for one in listed] == [0.0, 0.5, 1.0]  # log/SSIM alone
    with pytest.raises(InputError, match="exists"):
        write_ranking(RankConfig(study=str(study), out=str(out)))


def test_one_trial_alone(tmp_path):
    pytest.importorskip("matplotlib")

    def run(number):
        return {"loss": 0.1, "figures": {"linear/L1": 0.1}, "failed": "", "seconds": 1.0}

    work(tmp_path, {"loss": ("l1",)}, [{"loss": "l1"}], run)
    write_ranking(RankConfig(study=str(tmp_path)))
    listed = json.loads((tmp_path / "ranking" / "ranking.json").read_text())
    assert [one["score"] for one in listed] == [0.0]


def test_no_study(tmp_path):
    with pytest.raises(InputError, match="no study in there"):
        write_ranking(RankConfig(study=str(tmp_path)))

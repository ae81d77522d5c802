import numpy as np
import pytest

from xmm_jax.herschel.contenders import Tuning
from xmm_jax.herschel.images import draw_region
from xmm_jax.herschel.judge import curve, judge_region, summary, tuned
from xmm_jax.herschel.region import read_region
from xmm_jax.metrics.submm import Rule
from xmm_jax.metrics.submm_figures import pool


@pytest.fixture(scope="module")
def regions(config):
    return [draw_region(i, config) for i in range(6)]


def test_the_target_judges_itself_best(regions):
    tuning, methods = tuned(regions)
    tables = [judge_region(one, methods, tuning, rule=Rule())[0] for one in regions]
    figures = {name: pool([row[name] for row in tables]) for name in tables[0]}
    assert list(figures) == ["rescaled", "deconvolution", "detection_250", "target"]
    best = figures.pop("target")
    assert best["pixels"]["rms"] == pytest.approx(0, abs=1e-3)
    assert all(row["pixels"]["rms"] > 0.3 for row in figures.values())
    assert best["headline"]["purity"] > 0.97
    assert all(row["pixels"]["correlation"] < 0.95 for row in figures.values())
    # Few but safe: what the other two find is not all there.
    assert figures["rescaled"]["headline"]["purity"] < best["headline"]["purity"]
    assert figures["detection_250"]["offsets"]["found"] < best["offsets"]["found"] / 3


def test_tables_say_what_was_found(regions):
    tables, _ = judge_region(regions[0], {}, Tuning(0.4, 1.0), rule=Rule())
    figures = {"target": pool([tables["target"]])}
    head, row = summary(figures).splitlines()
    assert len(head) == len(row)
    assert "compl>15" in head
    assert row.startswith("target")
    for which in ("completeness", "purity", "flux"):
        head, row = curve(figures, which).splitlines()
        assert head.split()[1:3] == ["1-2", "2-4"]
        assert head.endswith(">30  mJy")
        assert len(row.replace(" %", "%").split()) == 10


def test_real_maps_are_compared_on_one_level(maps):
    """A map that is the target but for a constant is a perfect answer."""
    region = read_region(str(maps), least_mjy=3.0)
    high = {"high": lambda bands, tuning: region.target[..., 0] + 7.0}
    tables, shown = judge_region(region, high, Tuning(0.4, 1.0), rule=Rule())
    live = region.valid[..., 0]
    assert np.allclose(shown["high"][live], region.target[..., 0][live], atol=1e-3)
    assert np.all(shown["high"][~live] == 0)
    figures = pool([tables["high"]])
    assert figures["headline"]["purity"] > 0.97
    assert figures["pixels"]["rms"] < 1e-2

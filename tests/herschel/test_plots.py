"""Pictures of toy fields: files appear, with or without anything to draw."""

import numpy as np
import pytest

from xmm_jax.errors import InputError
from xmm_jax.herschel import plots
from xmm_jax.herschel.contenders import METHODS, Tuning, paint
from xmm_jax.herschel.plots import write_curves, write_maps
from xmm_jax.metrics.submm import judge_field
from xmm_jax.metrics.submm_figures import pool
from xmm_jax.metrics.submm_sources import Sources

pytest.importorskip("matplotlib")
SIZE = 96


def toy(seed):
    """Sources of any distance from each other, with noise."""
    rng = np.random.default_rng(seed)
    truth = Sources(*rng.uniform(0, SIZE, (2, 40)), rng.pareto(1.5, 40).clip(0, 20) * 2 + 1)
    wide = [paint(truth._replace(flux=2.5 * truth.flux), (SIZE, SIZE), fwhm_pixel=beam / 2)
            for beam in (18.1, 24.9, 36.6)]  # fmt: skip
    bands = np.stack(wide, axis=-1) + rng.normal(0, 1, (SIZE, SIZE, 3))
    return bands, paint(truth, (SIZE, SIZE), fwhm_pixel=3.95), truth


def is_png(path):
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 10_000


def kept(monkeypatch):
    """The figure before it is written."""
    figures = []
    write = plots.write_figure
    monkeypatch.setattr(
        plots, "write_figure", lambda figure, path: figures.append(figure) or write(figure, path)
    )
    return figures


def test_curves_of_all_methods(tmp_path, monkeypatch):
    figures, drawn = {}, kept(monkeypatch)
    fields = [toy(seed) for seed in (1, 2)]
    for name, method in METHODS.items():
        maps = [method(bands, Tuning(0.4, 0.5)) for bands, *_ in fields]
        figures[name] = pool([judge_field(image, truth, target=target)
            for image, (_, target, truth) in zip(maps, fields, strict=True)])  # fmt: skip
    figures["target"] = pool([judge_field(target, truth) for _, target, truth in fields])
    figures["nothing"] = pool([judge_field(np.zeros((SIZE, SIZE)), toy(1)[2])])
    assert is_png(write_curves(tmp_path / "new" / "curves.png", figures))
    complete, pure = drawn[0].axes[:2]
    assert complete.get_legend_handles_labels()[1] == list(figures)
    # The lines of the slides, and the points of the last method but one.
    for panel, level, name in ((complete, 0.95, "completeness"), (pure, 0.87, "purity")):
        levels = [y for line in panel.get_lines() for y in line.get_ydata()[:1]]
        assert level in levels
        values = [row["value"] for row in figures["target"][name] if row["number"]]
        assert any(list(line.get_ydata()) == values for line in panel.get_lines())


def test_maps_side_by_side(tmp_path, monkeypatch):
    bands, target, truth = toy(3)
    drawn = kept(monkeypatch)
    shown = {name: method(bands, Tuning(0.4, 0.5)) for name, method in METHODS.items()}
    shown["target"] = target
    assert is_png(write_maps(tmp_path / "maps.png", bands, shown, truth))
    images = [panel.get_images()[0] for panel in drawn[0].axes if panel.get_images()]
    assert len(images) == 3 + 4
    # Maps at 450 um share one scale, that of the target.
    assert len({image.get_clim() for image in images[3:]}) == 1
    assert is_png(write_maps(tmp_path / "one.png", bands, {"flat": 0 * target}))


def test_nothing_to_draw(tmp_path):
    with pytest.raises(InputError, match="no method"):
        write_curves(tmp_path / "curves.png", {})
    with pytest.raises(InputError, match="no map"):
        write_maps(tmp_path / "maps.png", np.zeros((8, 8, 3)), {})

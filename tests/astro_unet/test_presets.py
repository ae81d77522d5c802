import dataclasses

import pytest

from xmm_jax.astro_unet.config import check
from xmm_jax.astro_unet.line import read_config
from xmm_jax.astro_unet.model import make_network
from xmm_jax.astro_unet.presets import EXPERIMENTS, PRESETS, parse
from xmm_jax.config_file import to_json
from xmm_jax.errors import InputError
from xmm_jax.optim import learning_rate_schedule


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_possible_and_survive_json(name, tmp_path):
    config = parse([f"--preset={name}", "--task=astro_unet"])
    assert config.preset == name
    assert config.run == f"runs/astro_unet-{name}-seed0"
    (tmp_path / "config.json").write_text(to_json(config))
    assert read_config(tmp_path / "config.json") == config


def test_the_networks_of_the_paper():
    """Sections 3.2 and 3.4 and the published code."""
    first, second = PRESETS["network1"], PRESETS["network2"]
    assert (first.steps, first.batch_size, first.crop) == (5000 * 160, 1, 256)
    assert first.ratios == (2,)
    assert second.ratios == (2, 3, 4, 5)
    assert second.order == "ordered"
    assert second.steps == 4 * first.steps  # every crop is seen with four ratios
    rate = learning_rate_schedule(first.optim, steps=first.steps)
    assert float(rate(2000 * 160 - 1)) == pytest.approx(1e-4)
    assert float(rate(2000 * 160)) == pytest.approx(1e-5)
    printed = PRESETS["network1_paper"]
    assert (printed.optim.learning_rate, printed.network.slope) == (1e-5, 0.02)


def test_each_experiment_changes_what_table_1_says():
    assert len(EXPERIMENTS) == 11
    changed = {
        name: {
            field.name
            for field in dataclasses.fields(PRESETS[name])
            if getattr(PRESETS[name], field.name) != getattr(PRESETS["network1"], field.name)
        }
        - {"preset"}
        for name in EXPERIMENTS
    }
    assert changed["exp01"] == {"network"}
    assert changed["exp02"] == {"loss", "network"}
    assert changed["exp08"] == {"ratios", "order"}
    assert [make_network(PRESETS[n].network).in_channels for n in ("exp05", "exp07")] == [2, 2]
    assert PRESETS["exp06"].network.ratio == "input"


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--crop=100", "16, 32"),
        ("--crop=512 --shift=4", "does not fit --side=512"),
        ("--ratios 0", "at least those of the input"),
        ("--vgg=weights.npz", "perceptual"),
        ("--data=there --target_kind=expected", "drawn fields"),
        ("--optim.schedule=drop", "belong together"),
        ("--shift=-1", "negative"),
        ("--network.filters=0", "at least 1"),
        ("--accumulate=3", "does not divide"),
    ],
)
def test_settings_that_cannot_work_are_refused(flag, said):
    with pytest.raises(InputError, match=said):
        check(parse(["--task=astro_unet", *flag.split()]))

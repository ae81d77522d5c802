"""Settings: two-phase parsing, presets, JSON, what may change when a run is resumed."""

import dataclasses

import pytest

from xmm_jax.config import Config, check, parse_loss
from xmm_jax.config_file import differences, from_json, to_json
from xmm_jax.errors import InputError
from xmm_jax.presets import PRESETS, parse


def test_the_paper_preset_is_table_3_of_the_paper():
    for task in ("sr", "dn"):
        config = PRESETS[task]["paper"]
        assert (config.network.size, config.batch_size, config.crop) == ("base", 1, 0)
        assert config.optim.learning_rate == 1e-4
        assert config.optim.schedule == "constant"
        assert (config.network.stretch, config.loss) == ("sqrt", "psnr+ms_ssim")
        assert config.steps == 50 * 24_678
        assert config.network.clip_rate == pytest.approx(200 * 1.1168e-5)
    assert PRESETS["sr"]["paper"].network.target_clip_rate == pytest.approx(50 * 1.1168e-5)
    assert PRESETS["dn"]["paper"].network.target_clip_rate == pytest.approx(200 * 1.1168e-5)


def test_task_and_preset_choose_defaults_and_flags_override():
    config = parse(["--preset=paper", "--task", "dn", "--optim.learning_rate=3e-4", "--seed=4"])
    assert config.optim.learning_rate == 3e-4
    assert config.batch_size == 1
    assert config.run == "runs/dn-paper-seed4"
    assert parse(["--task=sr"]).preset == "tiny"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--stpes=3"], "did you mean --steps"),
        (["--network.siez=tiny"], "did you mean --network.size"),
        (["--task=mos"], "invalid choice: 'mos'"),
        (["--steps=0"], "--steps must be at least 1"),
        (["--loss=psnr+psnr"], "--loss=psnr+psnr"),
        (["--loss=l1:-1"], "--loss=l1:-1"),
        (["--loss=l1:two"], "--loss=l1:two"),
        (["--seed=-1"], "--seed must not be negative"),
        (["--crop=-8"], "--crop must not be negative"),
        (["--thin=2"], "--thin=2"),
        (["--alternate", "--data=one"], "name several"),
        (["--network.spread"], "set both"),
        (["--optim.learning_rate=0"], "--optim.learning_rate must be positive"),
        (["--optim.beta1=1"], "--optim.beta1"),
        (["--optim.schedule=drop"], "belong together"),
        (["--task=dn", "--crop=100"], "MS-SSIM needs more than 192"),
        (["--optim.average=1"], "decay"),
        (["--share=0"], "--share=0"),
        (["--share=1.5"], "--share=1.5"),
        (["--place=boresight", "--crop=0"], "needs records and a crop"),
        (["--data=stream", "--share=0.5"], "not a stream"),
        (["train.fits"], "unknown argument train.fits"),
    ],
)
def test_bad_flags_say_what_is_wrong_in_one_line(argv, says):
    with pytest.raises(InputError) as caught:
        parse(argv)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_preset_passes_its_own_checks():
    for presets in PRESETS.values():
        for config in presets.values():
            check(config)


def test_json_round_trip(tmp_path):
    config = parse(["--task=dn", "--loss=l1:2+ssim", "--flips"])
    (tmp_path / "config.json").write_text(to_json(config))
    assert from_json(tmp_path / "config.json", Config) == config


@pytest.mark.parametrize("text", ["{", '{"task": "sr"}', '{"unknown": 1}'])
def test_settings_of_another_version_are_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        from_json(tmp_path / "config.json", Config)


def test_only_what_does_not_change_the_learning_may_change_on_resume():
    old = Config()
    assert differences(old, dataclasses.replace(old, steps=9, parallel="shard_map")) == []
    other = dataclasses.replace(
        old, batch_size=8, optim=dataclasses.replace(old.optim, learning_rate=1.0)
    )
    assert differences(old, other) == [
        "--batch_size: 4 -> 8",
        "--optim.learning_rate: 0.0001 -> 1.0",
    ]


def test_loss_weights():
    assert parse_loss("psnr+ms_ssim:0.5") == {"psnr": 1.0, "ms_ssim": 0.5}

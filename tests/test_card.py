"""Scores on the card of a model, and a second training beside them."""

import dataclasses
import json

import pytest

from xmm_jax import load_model
from xmm_jax.card import FIGURES, card, compare_scores, scores_of
from xmm_jax.errors import InputError
from xmm_jax.export import read_scores

DIGEST = "0123456789abcdef"


def evaluation(digest=DIGEST, **networks):
    """Content of metrics.json: PSNR and bits of the networks, by name."""
    rows = {"input": (30.0, 1.0), **networks}
    return {
        "settings": {"protocol": "simulated", "task": "dn"},
        "set": {"fields": 20, "digest": digest},
        "methods": [{"name": name, "ours": name in networks} for name in rows],
        "summary": {
            name: {"PSNR": [psnr, 0.1], "bits": [bits, 0.1], "z": [1.0, 0.1]}
            for name, (psnr, bits) in rows.items()
        },
    }


def test_the_only_network_is_this_model():
    ((name, rows),) = scores_of(evaluation(run7=(40.0, 1.4))).items()
    assert name == "20 simulated fields for dn, 012345"
    assert rows == {"input": {"PSNR": 30.0, "bits": 1.0}, "this model": {"PSNR": 40.0, "bits": 1.4}}
    ((_, both),) = scores_of(evaluation(a=(40.0, 1.4), b=(41.0, 1.5))).items()
    assert set(both) == {"input", "a", "b"}


def test_files_of_one_set_make_one_table(tmp_path):
    files = []
    for k, one in enumerate([evaluation(), evaluation(run7=(40.0, 1.4)), evaluation("f" * 16)]):
        files.append(str(tmp_path / f"{k}.json"))
        (tmp_path / f"{k}.json").write_text(json.dumps(one))
    scores = read_scores(files)
    assert [set(rows) for rows in scores.values()] == [{"input", "this model"}, {"input"}]
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="not metrics of `evaluate`"):
        read_scores([str(tmp_path / "x.json")])


def test_the_card_shows_the_scores_it_was_given():
    model = load_model("dn")
    shown = card(dataclasses.replace(model, scores=scores_of(evaluation(run7=(40.0, 1.4)))))
    assert "**20 simulated fields for dn, 012345**" in shown
    assert "| | PSNR | bits |" in shown
    assert "| this model | 40 | 1.4 |" in shown
    assert "this model" not in card(dataclasses.replace(model, scores={}))


@pytest.mark.parametrize(
    ("again", "worse"), [((40.2, 1.41), False), ((39.8, 1.39), False), ((39.5, 1.4), True)]
)
def test_a_second_training_beside_the_card(again, worse):
    assert FIGURES["PSNR"] == 0.3
    card = scores_of(evaluation(first=(40.0, 1.4)))
    text, found = compare_scores(card, evaluation(second=again))
    assert found is worse
    assert ("worse by more than 0.3" in text) is worse
    assert f"{again[0] - 40.0:+.4f}" in text
    # Of several networks the worst decides.
    assert compare_scores(card, evaluation(a=(41.0, 1.5), second=again))[1] is worse


def test_a_card_without_these_fields():
    card = scores_of(evaluation(first=(40.0, 1.4)))
    with pytest.raises(InputError, match=r"no scores of .* ffffff; .* one it has: .* 012345"):
        compare_scores(card, evaluation("f" * 16, second=(40.0, 1.4)))
    with pytest.raises(InputError, match="one it has: none"):
        compare_scores({}, evaluation(second=(40.0, 1.4)))

"""Observations named by their number: each becomes an image, or the run says what became of it."""

import pytest

from xmm_jax.enhance import EnhanceConfig, make_images
from xmm_jax.errors import InputError
from xmm_jax.status import FAILED

PN, NO_PN = "0840940101", "0000000001"


@pytest.fixture(autouse=True)
def archive(monkeypatch):
    """Has one observation."""

    def image_of(obs_id, *, save_dir, **_):
        if obs_id == NO_PN:
            raise InputError(f"{obs_id}: the archive has no EPIC-pn products; check the number")
        return f"{save_dir}/{obs_id}.fits"

    monkeypatch.setattr("xmm_jax.enhance.image_of", image_of)


def test_one_of_two_that_cannot_be_had_is_listed_and_the_other_made(tmp_path, capsys):
    made, failed = make_images(EnhanceConfig(obsid=(NO_PN, PN), out=str(tmp_path)))
    assert made == [f"{tmp_path}/{PN}.fits"]
    assert [(row.input, row.status) for row in failed] == [(NO_PN, FAILED)]
    assert "no EPIC-pn products" in failed[0].reason
    assert f"failed: {NO_PN}" in capsys.readouterr().out


def test_none_that_can_be_had_is_an_error():
    with pytest.raises(InputError, match="no EPIC-pn products"):
        make_images(EnhanceConfig(obsid=(NO_PN,)))
    with pytest.raises(InputError, match="none of 2 observations"):
        make_images(EnhanceConfig(obsid=(NO_PN, NO_PN)))


def test_a_folder_of_products_belongs_to_one_observation():
    with pytest.raises(InputError, match="name one --obsid"):
        make_images(EnhanceConfig(obsid=(PN, NO_PN), pps_dir="products"))

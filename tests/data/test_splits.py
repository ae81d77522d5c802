import hashlib
from collections import Counter

import pytest

from xmm_jax.data.splits import SPLITS, check_disjoint, position, split_of, split_sources
from xmm_jax.errors import InputError

MANY = [f"TNG100-{number}" for number in range(20_000)]


def test_position_is_the_hash_it_says():
    digest = hashlib.blake2b(b"7:TNG100-343638", digest_size=8).digest()
    assert position("TNG100-343638", seed=7) == pytest.approx(int.from_bytes(digest, "big") / 2**64)


def test_shares():
    count = Counter(split_of(source) for source in MANY)
    for name, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        # 4 standard deviations of a binomial
        assert abs(count[name] / len(MANY) - share) < 4 * (share * (1 - share) / len(MANY)) ** 0.5


def test_no_source_depends_on_the_others():
    whole = split_sources(MANY)
    assert whole == split_sources(reversed(MANY))
    assert all(whole[source] == split_of(source) for source in MANY)


def test_another_seed_is_independent():
    same = sum(split_of(s) == split_of(s, seed=1) == "test" for s in MANY)
    assert abs(same / len(MANY) - 0.01) < 4 * (0.01 * 0.99 / len(MANY)) ** 0.5


def test_widening_a_split_moves_no_source_out_of_it():
    for source in MANY[:1000]:
        if split_of(source, fractions=(0.6, 0.2, 0.2)) == "train":
            assert split_of(source, fractions=(0.9, 0.05, 0.05)) == "train"


@pytest.mark.parametrize("n", [3, 4, 7])
@pytest.mark.parametrize("seed", range(20))
def test_a_handful_of_sources_fills_every_split(n, seed):
    split = split_sources(MANY[:n], seed=seed)
    assert set(split.values()) == set(SPLITS)
    assert split == split_sources(MANY[:n][::-1], seed=seed)


def test_too_few_sources_and_unwanted_splits():
    assert set(split_sources(MANY[:2]).values()) < set(SPLITS)
    assert list(split_sources(["one"])) == ["one"]
    assert split_sources([]) == {}
    assert "test" not in split_sources(MANY[:50], fractions=(0.5, 0.5, 0.0)).values()


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (1.1, -0.1, 0.0)])
def test_fractions_must_make_sense(fractions):
    with pytest.raises(InputError, match="must be >= 0 and sum to 1"):
        split_of("a", fractions=fractions)


def test_check_disjoint():
    check_disjoint({"train": ["a", "a", "b"], "test": ["c"], "validation": []})
    with pytest.raises(InputError, match="source b is in splits train and test"):
        check_disjoint({"train": ["a", "b"], "test": ["c", "b"]})

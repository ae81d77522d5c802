"""Which source belongs to which split: decided by a hash, so that no source is in two of them."""

import hashlib
from collections.abc import Iterable, Mapping

from xmm_jax.errors import InputError

SPLITS = ("train", "validation", "test")
FRACTIONS = (0.8, 0.1, 0.1)


def position(source_id: str, *, seed: int = 0) -> float:
    """Place a source in [0, 1) by a hash of seed and identifier, the same on every machine.

    Parameters
    ----------
    source_id : str
        What the example shows: a sub-halo, a sky field, an observation.
    seed : int
        Another seed gives another, independent arrangement.

    Returns
    -------
    float
        Uniform over sources.
    """
    digest = hashlib.blake2b(f"{seed}:{source_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def split_of(
    source_id: str, *, seed: int = 0, fractions: tuple[float, float, float] = FRACTIONS
) -> str:
    """Name the split of a source; it depends on nothing but the identifier, seed and fractions.

    Parameters
    ----------
    source_id : str
        Split key: every image of one source carries the same.
    seed : int
        Seed of the arrangement.
    fractions : tuple of float
        Expected shares of train, validation and test; they sum to 1.

    Returns
    -------
    str
        ``"train"``, ``"validation"`` or ``"test"``.

    Raises
    ------
    InputError
        The fractions are negative or do not sum to 1.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InputError(f"split fractions {fractions}: must be >= 0 and sum to 1")
    place = position(source_id, seed=seed)
    if place < fractions[0]:
        return "train"
    return "validation" if place < fractions[0] + fractions[1] else "test"


def split_sources(
    source_ids: Iterable[str],
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> dict[str, str]:
    """Split a known set of sources; a wanted split that the hash left empty gets one source.

    With many sources this is `split_of` for each. With a handful the hash may leave validation or
    test empty; then the source with the lowest hash moves there from the fullest split, as long as
    that keeps one of its own.

    Parameters
    ----------
    source_ids : iterable of str
        The sources; repeats do not matter, nor does the order.
    seed : int
        Seed of the arrangement.
    fractions : tuple of float
        Expected shares of train, validation and test.

    Returns
    -------
    dict of str to str
        Split of every source.
    """
    sources = sorted(set(source_ids), key=lambda source: (position(source, seed=seed), source))
    split = {source: split_of(source, seed=seed, fractions=fractions) for source in sources}
    for name, fraction in zip(SPLITS, fractions, strict=True):
        members = {other: [s for s in sources if split[s] == other] for other in SPLITS}
        fullest = max(SPLITS, key=lambda other: len(members[other]))
        if fraction > 0 and not members[name] and len(members[fullest]) > 1:
            split[members[fullest][0]] = name
    return split


def check_disjoint(sources: Mapping[str, Iterable[str]]) -> None:
    """Make sure that no source appears in two splits.

    Parameters
    ----------
    sources : mapping of str to iterable of str
        Source identifiers of each split.

    Raises
    ------
    InputError
        Naming one shared source and the two splits it is in.
    """
    seen: dict[str, str] = {}
    for name, source_ids in sources.items():
        for source in source_ids:
            if seen.setdefault(source, name) != name:
                raise InputError(
                    f"source {source} is in splits {seen[source]} and {name}: split by source_id"
                )

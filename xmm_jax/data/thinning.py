"""Splitting photons at random: thinned Poisson counts are Poisson counts of a shorter exposure."""

import hashlib

import numpy as np


def generator(seed: int, *words: str | int) -> np.random.Generator:
    """Random numbers keyed by a seed and words: no state, the same in any order and process.

    Parameters
    ----------
    seed : int
        Seed of the whole data set.
    *words : str or int
        What is drawn, for example a source and the number of a combination.

    Returns
    -------
    Generator
        Counter-based (Philox); other words give independent numbers.
    """
    text = "\n".join(str(word) for word in (seed, *words))
    key = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, np.uint64)))


def thin(draw: np.random.Generator, counts: np.ndarray, fraction: float) -> np.ndarray:
    """Keep every photon with probability `fraction`, independently.

    For Poisson counts the kept and the removed photons are two independent Poisson images with
    `fraction` and 1 - `fraction` of the exposure (Kingman 1993, Poisson Processes, 5.1).

    Parameters
    ----------
    draw : Generator
        Random numbers, see `generator`.
    counts : ndarray of int
        Counts per pixel [count].
    fraction : float
        Probability to keep a photon.

    Returns
    -------
    ndarray of int32
        Counts kept [count]; ``counts`` minus these are the others.
    """
    return draw.binomial(counts, fraction).astype(np.int32)

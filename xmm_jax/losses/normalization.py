"""Losses on one scale: slope and offset that make each 1 before training and 0 after.

Sweere et al. 2022: with the loss of an untrained network x1 and of a trained one x2,
``normalised = slope * loss + offset`` with ``slope = 1 / (x1 - x2)``, ``offset = -x2 / (x1 - x2)``.
"""

from typing import NamedTuple


class Affine(NamedTuple):
    """``slope * loss + offset``."""

    slope: float
    offset: float


UNCHANGED = Affine(1.0, 0.0)


def fit(untrained: float, trained: float) -> Affine:
    """Map that takes the untrained loss to 1 and the trained one to 0.

    Parameters
    ----------
    untrained, trained : float
        Mean of the loss over a validation set, of a network before and after training.

    Returns
    -------
    Affine
        Slope and offset; the slope is negative for losses that grow when things get better.

    Raises
    ------
    ValueError
        If the two are equal.
    """
    if untrained == trained:
        raise ValueError(f"untrained and trained loss are both {trained}: nothing to normalise by")
    slope = 1 / (untrained - trained)
    return Affine(slope, -trained * slope)


# Untrained and trained losses per stretch, from the published code.
MEASURED: dict[str, dict[str, tuple[float, float]]] = {
    "linear": {
        "l1": (0.05746, 0.02097),
        "poisson": (0.3323, 0.1804),
        "psnr": (22.189, 30.565),
        "ssim": (0.3856, 0.7218),
        "ms_ssim": (0.6093, 0.96),
    },
    "sqrt": {
        "l1": (0.1573, 0.05374),
        "poisson": (0.5002, 0.4187),
        "psnr": (14.761, 22.977),
        "ssim": (0.1362, 0.4621),
        "ms_ssim": (0.5425, 0.874),
    },
    "asinh": {
        "l1": (0.2573, 0.08037),
        "poisson": (2.801, 0.5223),
        "psnr": (10.464, 19.52),
        "ssim": (0.06155, 0.3662),
        "ms_ssim": (0.2081, 0.8258),
    },
    "log": {
        "l1": (0.3528, 0.1072),
        "poisson": (3.167, 0.6567),
        "psnr": (7.817, 16.838),
        "ssim": (0.05174, 0.3446),
        "ms_ssim": (0.3088, 0.7982),
    },
}


def _normalise(losses: dict[str, tuple[float, float]]) -> dict[str, Affine]:
    # L2 was not among the published losses: take the mean squared errors behind the PSNR.
    before, after = (10 ** (-value / 10) for value in losses["psnr"])
    return {name: fit(*pair) for name, pair in losses.items()} | {"l2": fit(before, after)}


# Square roots of counts, an untrained and a trained `best` network, mixed exposures.
COUNTS = {
    "deviance": UNCHANGED,
    "l1": UNCHANGED,
    "l2": UNCHANGED,
    "spread": UNCHANGED,
}

TABLE = {stretch: _normalise(losses) for stretch, losses in MEASURED.items()} | {"counts": COUNTS}
"""Normalisation by stretch and loss."""

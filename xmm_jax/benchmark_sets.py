"""Sets of simulated fields that scores are quoted for: kept as recipe and digest, not as bytes.

``python -m xmm_jax.evaluate --set=sr-200`` draws one and says whether it came out as it should.
"""

import dataclasses
from typing import Any, Literal

from xmm_jax.config import TaskName
from xmm_jax.errors import InputError

# Another processor may round a drawn rate differently and so, rarely, draw another count.
TOLERANCE_DB = 0.01


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What makes a set, and how to know it again.

    Attributes
    ----------
    task, n, seed, preset
        As of `xmm_jax.protocols.simulated_fields`.
    digest : str
        Of all input counts, `xmm_jax.protocols.digest`.
    input_psnr : float
        Mean PSNR of the input [dB], linear convention of the paper.
    """

    task: TaskName
    n: int
    seed: int
    preset: Literal["physical", "reference"]
    digest: str
    input_psnr: float


SETS = {
    "sr-20": Recipe("sr", 20, 0, "physical", "6ae63cfe3b98f617", 33.780),
    "sr-200": Recipe("sr", 200, 0, "physical", "4544c2f637b6029c", 34.113),
    "dn-20": Recipe("dn", 20, 0, "physical", "b09c51c30a864f9e", 35.519),
    "dn-200": Recipe("dn", 200, 0, "physical", "c671da56d9b4cce8", 36.182),
}


def find_set(name: str) -> Recipe:
    """Recipe of a set.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if name not in SETS:
        raise InputError(f"--set={name}: no such set; choose from {', '.join(SETS)}")
    return SETS[name]


def verdict(name: str, metrics: dict[str, Any]) -> str:
    """Whether the fields that were judged are those of the set.

    Parameters
    ----------
    name : str
        Key of `SETS`.
    metrics : dict
        Content of ``metrics.json``.

    Returns
    -------
    str
        ``as in the recipe``, ``as in the recipe but for rounding`` or ``other than in the
        recipe``.
    """
    recipe, psnr = find_set(name), metrics["summary"]["input"]["PSNR"][0]
    if metrics["set"]["digest"] == recipe.digest:
        return "as in the recipe"
    close = abs(psnr - recipe.input_psnr) <= TOLERANCE_DB
    return "as in the recipe but for rounding" if close else "other than in the recipe"

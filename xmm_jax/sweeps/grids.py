"""What a sweep tries: grids of settings, as plain data."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

LOSSES = ("l1", "poisson", "psnr", "ssim", "ms_ssim")
STRETCHES = ("linear", "sqrt", "asinh", "log")
SMALLEST_MS_SSIM = 192
"""MS-SSIM needs targets with longer sides [pixel]."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Settings of all trials, and those in which they differ.

    Attributes
    ----------
    base : mapping of str to str
        Flags of `train` by name that all trials have.
    axes : mapping of str to sequence of str
        Flags by name, and the values that each is given.
    """

    base: Mapping[str, str]
    axes: Mapping[str, Sequence[str]]


def loss_sums(names: Sequence[str]) -> tuple[str, ...]:
    """All non-empty sums of losses of these names, the short ones first."""
    return tuple(
        "+".join(some)
        for number in range(1, len(names) + 1)
        for some in itertools.combinations(names, number)
    )


# The sweep files of the published code (reference, section 4): 3 x 4 x 5 x 3 = 180 models, where
# appendix C prints lists that multiply to 162; and 31 sums of losses x 4 stretches, where the files
# also count the empty sum.
GRIDS: dict[str, Grid] = {
    "model": Grid(
        {"loss": "poisson", "network.stretch": "sqrt"},
        {
            "batch_size": ("2", "4", "8"),
            "network.blocks": ("1", "2", "4", "8"),
            "optim.learning_rate": ("1e-3", "5e-4", "1e-4", "5e-5", "1e-5"),
            "network.filters": ("8", "16", "32"),
        },
    ),
    "data": Grid(
        {
            "batch_size": "4",
            "optim.learning_rate": "1e-4",
            "network.filters": "32",
            "network.blocks": "4",
        },
        {"network.stretch": STRETCHES, "loss": loss_sums(LOSSES)},
    ),
    # The same questions for one night of two CPU cores, with networks and rates that learn
    # something in some hundred steps. Gradients are clipped, which the paper does not: where an
    # output is clamped to 0 that of the Poisson loss is 1e8, and Adam needs thousands of steps to
    # forget it.
    "model-small": Grid(
        {"loss": "poisson", "network.stretch": "sqrt", "optim.clip_norm": "1"},
        {
            "batch_size": ("2", "4", "8"),
            "network.blocks": ("1", "2"),
            "optim.learning_rate": ("5e-3", "2e-3", "5e-4"),
            "network.filters": ("4", "8"),
        },
    ),
    "data-small": Grid(
        {
            "batch_size": "4",
            "optim.learning_rate": "2e-3",
            "optim.clip_norm": "1",
            "network.filters": "8",
            "network.blocks": "1",
        },
        {"network.stretch": STRETCHES, "loss": loss_sums(LOSSES)},
    ),
    "tiny": Grid(
        {
            "batch_size": "2",
            "optim.clip_norm": "1",
            "network.filters": "4",
            "network.blocks": "1",
        },
        {"loss": ("l1", "poisson"), "optim.learning_rate": ("3e-3", "1e-3")},
    ),
}


def axes_of(grid: Grid, *, target_side: int) -> dict[str, tuple[str, ...]]:
    """Axes of a grid: flags by name, and what each is given.

    Parameters
    ----------
    grid : Grid
        What is tried.
    target_side : int
        Of the targets [pixel]; sums with MS-SSIM are left out where it is too small for it.
    """
    axes = {name: tuple(values) for name, values in grid.axes.items()}
    if "loss" in axes and target_side <= SMALLEST_MS_SSIM:
        axes["loss"] = tuple(sum for sum in axes["loss"] if "ms_ssim" not in sum.split("+"))
    return axes


def points(axes: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every combination of the values of axes; a point's place in the list is its number."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]

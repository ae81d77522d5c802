import pytest

from xmm_jax.config import TASKS
from xmm_jax.sweeps.grids import GRIDS, LOSSES, axes_of, loss_sums, points
from xmm_jax.sweeps.trial import SweepConfig, settings


def test_grids_have_the_published_sizes():
    def number(name, side):
        return len(points(axes_of(GRIDS[name], target_side=side)))

    assert number("model", 256) == 3 * 4 * 5 * 3 == 180
    assert number("data", 256) == 31 * 4
    # Without MS-SSIM, which needs larger targets: the published sweep of denoising.
    assert number("data", 128) == 15 * 4
    assert number("tiny", 64) == 4


def test_every_sum_of_losses_is_there_once():
    sums = loss_sums(LOSSES)
    assert len(set(sums)) == len(sums) == 2**5 - 1
    assert sums[0] == "l1"
    assert sums[-1] == "l1+poisson+psnr+ssim+ms_ssim"


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("task", ["sr", "dn"])
def test_every_point_is_a_run_that_can_be_started(grid, task):
    config = SweepConfig(grid=grid, task=task)
    chosen = GRIDS[grid]
    axes = axes_of(chosen, target_side=config.crop * TASKS[task].upscale)
    found = [settings(config, chosen, point, data="", steps=20, run="") for point in points(axes)]
    different = {(c.loss, c.network, c.optim, c.batch_size) for c in found}
    assert len(different) == len(found)
    assert all(c.place == "boresight" and c.crop == 128 and c.share == 0.25 for c in found)
    if "network.filters" in axes:
        assert {str(c.network.filters) for c in found} == set(axes["network.filters"])

"""The published network and its loss in PyTorch, our own expression: to time, and to check against.

Layers have the names of the published checkpoints, so that
``load_state_dict(xmm_jax.models.published.to_state_dict(params))`` gives the same network.
PyTorch is not needed by the package; see the README of this folder.
"""

import jax
import numpy as np
import torch
from alternate import Runner
from torch import nn
from torch.nn import functional

from xmm_jax.models.published import to_state_dict


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class DenseBlock(nn.Module):
    """Five convolutions, each seeing the outputs of all before it; residual scaled by 0.2."""

    def __init__(self, n):
        super().__init__()
        for i in range(1, 6):
            self.add_module(f"conv{i}", conv(i * n, n))

    def forward(self, x):
        seen = [x]
        for i in range(1, 5):
            y = getattr(self, f"conv{i}")(torch.cat(seen, dim=1))
            seen.append(functional.leaky_relu(y, 0.2, inplace=True))
        return x + 0.2 * self.conv5(torch.cat(seen, dim=1))


class Block(nn.Module):
    """Three dense blocks inside one residual."""

    def __init__(self, n):
        super().__init__()
        self.RDB1, self.RDB2, self.RDB3 = DenseBlock(n), DenseBlock(n), DenseBlock(n)

    def forward(self, x):
        return x + 0.2 * self.RDB3(self.RDB2(self.RDB1(x)))


class RRDB(nn.Module):
    """``[b, c, y, x]`` -> ``[b, 1, s*y, s*x]``, network units in [0, 1]."""

    def __init__(self, filters, blocks, upscale, in_channels=2):
        super().__init__()
        n = filters
        self.conv_first = conv(in_channels, n)
        self.RRDB_trunk = nn.Sequential(*[Block(n) for _ in range(blocks)])
        self.trunk_conv = conv(n, n)
        if upscale == 2:
            self.upsampling = nn.Sequential(
                conv(n, 4 * n), nn.LeakyReLU(inplace=True), nn.PixelShuffle(2)
            )
            self.HRconv = conv(n, n)
        self.conv_last = conv(n, 1)
        self.upscale = upscale

    def forward(self, x):
        first = self.conv_first(x)
        y = first + self.trunk_conv(self.RRDB_trunk(first))
        if self.upscale == 1:
            return torch.clamp(self.conv_last(y) + x[:, :1], 0, 1)
        y = functional.leaky_relu(self.HRconv(self.upsampling(y)), 0.2, inplace=True)
        return torch.clamp(self.conv_last(y), 0, 1)


def from_params(params):
    """Network of our weights."""
    state = {name: torch.tensor(a) for name, a in to_state_dict(params).items()}
    filters, in_channels = state["conv_first.weight"].shape[:2]
    blocks = len({name.split(".")[1] for name in state if name.startswith("RRDB_trunk")})
    network = RRDB(filters, blocks, 2 if "HRconv.weight" in state else 1, in_channels)
    network.load_state_dict(state)
    return network


def ms_ssim(prediction, target, taps=13, sigma=2.5, k=(0.01, 0.05)):
    """MS-SSIM of each image as in the published code: separable depthwise convolutions."""
    offset = torch.arange(taps, device=prediction.device) - (taps - 1) / 2
    window = torch.exp(-0.5 * (offset / sigma) ** 2)
    window = window / window.sum()

    def blur(image):
        image = functional.conv2d(image, window.view(1, 1, -1, 1))
        return functional.conv2d(image, window.view(1, 1, 1, -1))

    product, scales = 1.0, (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scale, weight in enumerate(scales):
        if scale:
            sides = [side % 2 for side in prediction.shape[2:]]
            prediction, target = (
                functional.avg_pool2d(image, 2, padding=sides) for image in (prediction, target)
            )
        a, b = blur(prediction), blur(target)
        variances = blur(prediction**2) - a**2 + blur(target**2) - b**2
        covariance = blur(prediction * target) - a * b
        term = (2 * covariance + k[1] ** 2) / (variances + k[1] ** 2)
        if scale == len(scales) - 1:
            term = term * (2 * a * b + k[0] ** 2) / (a**2 + b**2 + k[0] ** 2)
        product = product * torch.relu(term.mean(dim=(1, 2, 3))) ** weight
    return product


def psnr(prediction, target):
    return -10 * torch.log10(((prediction - target) ** 2).mean(dim=(1, 2, 3)) + 1e-8)


def l1(prediction, target):
    return (prediction - target).abs().mean(dim=(1, 2, 3))


# Layout, whether compiled, whether in bfloat16.
VARIANTS = {
    "eager": ("contiguous_format", False, False),
    "channels_last": ("channels_last", False, False),
    "compile": ("channels_last", True, False),
    "compile_bf16": ("channels_last", True, True),
}

LOSSES = {"psnr": psnr, "ms_ssim": ms_ssim, "l1": l1}


def combined(slopes, offset):
    """Loss of a batch from the slopes and the offset of `xmm_jax.losses.combine`."""

    def loss(prediction, target):
        terms = [slope * LOSSES[name](prediction, target) for name, slope in slopes.items()]
        return (sum(terms) + offset).mean()

    return loss


def to_torch(array, device="cpu", memory_format=torch.contiguous_format):
    """``[b, y, x, c]`` -> tensor ``[b, c, y, x]``."""
    tensor = torch.tensor(np.asarray(array).transpose(0, 3, 1, 2).copy())
    return tensor.to(device).contiguous(memory_format=memory_format)


def runners(part, case, variants, cores):
    """A part of a case of `bench_step` for each of some `VARIANTS`."""
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    torch.set_num_threads(cores)
    torch.backends.cudnn.benchmark = True

    def wait(out):
        if device == "cuda":
            torch.cuda.synchronize()
        return out

    def peak(runner):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        wait(runner.call())
        return round((torch.cuda.max_memory_allocated() - before) / 2**20)

    def runner(variant):
        layout, compiled, half = VARIANTS[variant]
        place = {"device": device, "memory_format": getattr(torch, layout)}
        network = from_params(case.params).to(**place)
        loss = combined(case.loss.slopes, case.loss.offset)
        arrays = case.inputs, case.target, np.float32(case.batch["target_valid"])
        inputs, target, live = (to_torch(a, **place) for a in arrays)
        adam = torch.optim.Adam(network.parameters(), lr=case.config.optim.learning_rate)
        cast = torch.autocast(device, torch.bfloat16, enabled=half)
        run = network
        if compiled:
            run, loss = torch.compile(network), torch.compile(loss)

        def forward():
            with torch.inference_mode(), cast:
                return run(inputs)

        def step():
            adam.zero_grad()
            with cast:
                outputs = run(inputs)
            value = loss(outputs.float() * live, target)
            value.backward()
            adam.step()
            return {"loss": value.detach()}

        def loss_alone():
            prediction = (0.9 * target + 0.01).requires_grad_()
            loss(prediction, target).backward()
            return prediction.grad

        work = {"forward": forward, "step": step, "loss": loss_alone}[part]
        peaks = {} if device == "cpu" else {"peak": peak}
        return Runner(f"torch {variant}", work, wait, **peaks)

    return [runner(variant) for variant in variants]

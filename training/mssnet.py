"""How MSSNet, the deblurring network, is trained, and what it must reach.

As published, all six images are compared with the sharp picture, as colours and as spectra. The
last one, which is the result, counts twice. Phase A has small pieces and many of them, phase B,
which begins after 65 % of the run, larger ones. At first all blurs are straight and of much the
same length: a network that meets every length at once learns to sharpen a little, whatever the
direction, and stays with that (`docs/measurements.md`).

References:
    Kim, Lee and Cho, arXiv 2202.09652; the spectra: Cho et al., "Rethinking Coarse-to-Fine
    Approach in Single Image Deblurring", ICCV 2021, arXiv 2108.05054.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wallprint_server.models.networks.mssnet import MULTIPLE, MSSNet, half_input

from . import blur, measure
from .blur import BlurMix
from .data import Tiles
from .gates import Gate
from .loop import Draw
from .repair import charbonnier

# The published "small" with a first level of 24 instead of 20: all widths are multiples of 8, as
# matrix units and vector registers want them, and the network takes no longer.
LIGHT = (24, 40, 40)
PHASE_B = 0.65
# Parts of the run in which blurs are all alike, and at whose end they are as various as said.
ALIKE, VARIOUS, LEAST_SPREAD = 0.15, 0.5, 0.15
SPECTRUM_SHARE = 0.1
# Rendered around a piece and cut off again: what moves into it comes from beside it. A multiple of
# 8, so that a JPEG's grid begins at the piece's corner, as it does in a picture and its tiles.
AROUND_PX = 24
LINES_PX, LIGHT_GAMMA = (6.0, 14.0), 2.2  # of a look
MARGIN_PX = 16  # of the evaluation pairs, rendered with a reflected border
# With a GPU, and on a CPU, in dB: the real pair, the mean of the synthetic pairs, sharp pictures.
REAL_GAIN, MADE_GAIN, SHARP_LOSS = (2.5, 0.7), (4.0, 1.2), 0.3


@dataclass
class MssnetRecipe:
    """A deblurring network; see `loop.Recipe`."""

    tiles: Tiles
    sizes: tuple[int, int, int] = LIGHT
    batch: int = 24
    batch_b: int = 8
    side: int = 128
    side_b: int = 256
    rate: float = 1.2e-3
    last_rate: float = 1e-6
    clip: float = 0.5
    warm_up: float = 0.02
    decay: float | None = 0.1
    name: str = "mssnet"
    on_gpu: bool = True
    mix: BlurMix = BlurMix()  # noqa: RUF009 (frozen)

    def build(self) -> nn.Module:
        """A new network, which begins as hardly any change of the picture."""
        net = MSSNet(*self.sizes)
        with torch.no_grad():
            for key, weights in net.named_parameters():
                if key.startswith("tail"):
                    weights.mul_(0.1)
        return net

    def entry(self, net: nn.Module) -> Callable[..., Any]:
        """All six images; the one PReLU keeps its number: its gradient reads every feature map."""
        assert isinstance(net, MSSNet)
        act = next(module for module in net.modules() if isinstance(module, nn.PReLU))
        act.weight.requires_grad_(False)
        slope = float(act.weight)
        act.forward = partial(F.leaky_relu, negative_slope=slope)  # type: ignore[method-assign]
        return net.forward_all

    def batch_of(self, draw: Draw) -> tuple[Tensor, ...]:
        """Blurred and sharp pieces."""
        late = draw.progress >= PHASE_B
        count, side = (self.batch_b, self.side_b) if late else (self.batch, self.side)
        sharp = self.tiles.crops(draw.decide, count, side + 2 * AROUND_PX)
        order = torch.randperm(3, generator=draw.decide).tolist()
        mix = easy_first(self.mix, draw.progress)
        soft, sharp = _pieces(sharp[:, order], draw.decide, draw.noise, mix)
        return soft.contiguous(memory_format=torch.channels_last), sharp.contiguous()

    def loss(self, call: Callable[..., Any], *batch: Tensor) -> Tensor:
        """Colours and spectra of the six images."""
        soft, sharp = batch
        return six_losses(call(soft), sharp)

    def look(self, net: nn.Module) -> dict[str, float]:
        """Gains in dB on held-out tiles, blurred by this program.

        All blurs together, and straight lines of 6 and 14 px in four directions. A network that
        knows no directions gains something with the first and next to nothing with the lines.
        """
        most = (self.tiles.pixels.shape[-1] - 2 * AROUND_PX) // MULTIPLE * MULTIPLE
        around = self.tiles.held_out(min(128, most) + 2 * AROUND_PX)
        if not len(around):
            return {}
        draw = torch.Generator().manual_seed(7)
        noise = torch.Generator(around.device).manual_seed(7)
        found = {"gain": mean_gain(net, *_pieces(around, draw, noise, self.mix))}
        angle = torch.arange(len(around)) * (pi / 4)
        for px in LINES_PX:
            kernel = blur.lines(torch.full((len(around),), px), angle).to(around.device)
            soft = blur.convolved(around**LIGHT_GAMMA, kernel).clamp(0, 1) ** (1 / LIGHT_GAMMA)
            found[f"line{px:.0f}"] = mean_gain(net, _inner(soft), _inner(around))
        return found

    def gates(self, net: nn.Module, folder: Path) -> list[Gate]:
        """The real pair, the synthetic pairs, and sharp pictures that must stay as they are.

        Args:
            net: float32.
            folder: with `deblur/gopro`, `deblur/kodak_synth` and `val_tiles`.
        """
        assert isinstance(net, MSSNet)
        which = 0 if self.on_gpu else 1
        real = gains(net, sorted((folder / "deblur" / "gopro").glob("*_blur.png")))
        made = gains(net, sorted((folder / "deblur" / "kodak_synth").glob("*_blur.png")))
        lost = sharp_loss(net, sorted((folder / "val_tiles").glob("*.jpg"))[:8])
        return [
            Gate("real pair, gain in dB", real[0], REAL_GAIN[which]),
            Gate("real pair, gain in dB, best shift", real[1], REAL_GAIN[which]),
            Gate("synthetic pairs, mean gain in dB", made[0], MADE_GAIN[which]),
            Gate("synthetic pairs, mean gain in dB, best shift", made[1], MADE_GAIN[which]),
            Gate("sharp pictures, dB lost", lost, SHARP_LOSS, True),
        ]


def easy_first(mix: BlurMix, progress: float) -> BlurMix:
    """What is drawn when so much of the run, 0..1, is over; from VARIOUS on, `mix`."""
    part = min(1.0, max(0.0, (progress - ALIKE) / (VARIOUS - ALIKE)))
    return replace(
        mix,
        spread=mix.spread * (LEAST_SPREAD + (1 - LEAST_SPREAD) * part),
        bend=mix.bend * part,
        moving=mix.moving * part,
        defocused=mix.defocused * part,
        coded=mix.coded * part,
    )


def _pieces(
    sharp: Tensor, draw: torch.Generator, noise: torch.Generator, mix: BlurMix
) -> tuple[Tensor, Tensor]:
    """Blurred and sharp pieces without what lies around them."""
    soft, _ = blur.blurred(sharp, draw, noise, mix)
    return _inner(soft), _inner(sharp)


def _inner(around: Tensor) -> Tensor:
    inner = slice(AROUND_PX, around.shape[-1] - AROUND_PX)
    return around[..., inner, inner]


def mean_gain(net: nn.Module, soft: Tensor, sharp: Tensor) -> float:
    """Mean gain in dB over pieces, (B, 3, H, W) each."""
    better = measure.to_8_bit(net(soft))
    gains = [
        measure.psnr(a, c, 8) - measure.psnr(b, c, 8)
        for a, b, c in zip(better, soft, sharp, strict=True)
    ]
    return sum(gains) / len(gains)


def spectrum_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the spectra, real and imaginary parts taken separately.

    Not of their moduli: those would be another loss. Unnormalised and in float32.

    Args:
        a: (B, 3, H, W), W even.
        b: the same.
    """
    parts = torch.view_as_real(torch.fft.rfft2(a.float() - b.float())).abs()
    # Of real numbers half the spectrum is enough: each column stands for two, but for the first
    # and, as the width is even, the last.
    once = parts[..., 0, :].sum() + parts[..., -1, :].sum()
    return (2 * parts.sum() - once) / (2 * a.numel())


def six_losses(images: list[Tensor], sharp: Tensor) -> Tensor:
    """Sum over the six images, the first of half size; the last counts in full, others half."""
    total = sharp.new_zeros(())
    for i, image in enumerate(images):
        truth = half_input(sharp) if i == 0 else sharp
        one = charbonnier(image.float() - truth) + SPECTRUM_SHARE * spectrum_distance(image, truth)
        total = total + (1.0 if i == len(images) - 1 else 0.5) * one
    return total


def gains(net: MSSNet, files: list[Path]) -> tuple[float, float]:
    """Mean gain in dB over blurred pictures, plainly, and with the best whole shift."""
    plain: list[float] = []
    shifted: list[float] = []
    for path in files:
        stem = path.name.removesuffix("_blur.png")
        soft = measure.load(path)
        sharp = measure.load(path.with_name(f"{stem}_sharp.webp"))
        with torch.inference_mode():
            better = measure.to_8_bit(net.whole(soft))
        for found, rule in ((plain, measure.psnr), (shifted, measure.psnr_shift)):
            found.append(rule(better, sharp, MARGIN_PX) - rule(soft, sharp, MARGIN_PX))
    return sum(plain) / len(plain), sum(shifted) / len(shifted)


def sharp_loss(net: MSSNet, files: list[Path]) -> float:
    """Mean dB that sharp pictures of quality 95 lose; a clean one has an infinite PSNR."""
    losses = []
    for path in files:
        clean = measure.load(path)
        given = measure.as_jpeg(clean, 95, half_chroma=False)
        with torch.inference_mode():
            better = measure.to_8_bit(net.whole(given))
        losses.append(measure.psnr(given, clean) - measure.psnr(better, clean))
    return sum(losses) / len(losses)

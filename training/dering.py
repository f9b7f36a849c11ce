"""How the network after the deconvolution is trained, and what it must reach.

Pieces of photographs are shaken by one way of the camera and deconvolved by another one, which
misses the first by as much as what `pipeline/shake.py` finds does: what comes out has the rings
that the network will meet. Deconvolving takes a third of a second for each piece, so there
is a stock of them that is drawn from again and again, turned and mirrored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wallprint_protocol.print_size import Rect, Size
from wallprint_server.models.networks.deringer import Deringer
from wallprint_server.pipeline.deconvolve import ROUNDS, Deconvolution, deconvolved, drawn
from wallprint_server.pipeline.shake import estimate_shake

from . import blur, measure
from .blur import BlurMix
from .data import Tiles
from .degrade import chance, uniform
from .gates import Gate
from .loop import Draw
from .repair import restoration_loss

MOST_PIECE_PX = 256
AROUND_PX = 32  # of a piece: what a shake brings in
REACH_PX = AROUND_PX - 1.5
EXTENT_PX = (4.0, 34.0)
# How far the way that is deconvolved misses the true one, root mean square; measured on 34 shaken
# photographs: mostly 0.2 to 1.1 px, in a sixth of them more.
MISS_PX, FAR_MISS_PX, FAR = (0.2, 1.1), (1.1, 2.5), 0.15
SHORT = 9
STOCK_SEED = 5
LOOK_SEED = 7
MARGIN_PX = 16
GAIN, MORE = 1.2, 0.2


@dataclass(frozen=True)
class Stock:
    """Pieces ready for training, (N, 3, P, P) uint8 each.

    Attributes:
        light: deconvolved.
        taken: shaken.
        sharp: as they should be.
    """

    light: Tensor
    taken: Tensor
    sharp: Tensor


def stocked(around: Tensor, draw: torch.Generator, noise: torch.Generator, mix: BlurMix) -> Stock:
    """Shake and deconvolve pieces.

    Args:
        around: (N, 3, P + 2 AROUND_PX, P + 2 AROUND_PX) in [0, 1].
        draw: on the CPU.
        noise: on the pieces' device.
        mix: noise and compression of the camera.
    """
    side = around.shape[-1] - 2 * AROUND_PX
    inner = slice(AROUND_PX, AROUND_PX + side)
    sharp = around[..., inner, inner]
    real, found = ways(draw, len(around))
    light, gamma = blur.lit(around, draw)
    soft = blur.convolved(light, drawn(real).to(around.device))[..., inner, inner]
    taken = blur.photographed(soft, gamma, draw, noise, mix)
    shares = torch.ones(1, side, side, device=around.device)
    back = [
        deconvolved(one[None], drawn(way[None]).to(around.device), shares, ROUNDS, lambda: None)
        for one, way in zip(taken, found, strict=True)
    ]
    return Stock(*(_bytes(x) for x in (torch.cat(back), taken, sharp)))


def _side_around(tiles: Tiles) -> int:
    return min(MOST_PIECE_PX + 2 * AROUND_PX, tiles.pixels.shape[-1])


def _bytes(x: Tensor) -> Tensor:
    return (x * 255).round().byte()


def ways(draw: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Where the light lies over the exposure, and where it is believed to lie: (N, F, 2) px."""
    extent = uniform(draw, *EXTENT_PX, count)
    real = -blur.paths(draw, extent, blur.FRAMES)[..., :2]
    missed = blur.paths(draw, torch.ones(count), blur.FRAMES)[..., :2]
    # Where a picture lies as a whole its blur cannot tell, nor can the network.
    missed = missed - missed.mean(1, keepdim=True)
    missed = missed / missed.square().sum(2).mean(1).sqrt().clamp(min=1e-6).view(-1, 1, 1)
    near, far = uniform(draw, *MISS_PX, count), uniform(draw, *FAR_MISS_PX, count)
    much = torch.where(chance(draw, FAR, count), far, near)
    much = torch.minimum(much, extent / SHORT)  # a short way is known better
    found = real + missed * much.view(-1, 1, 1)
    return real.clamp(-REACH_PX, REACH_PX), found.clamp(-REACH_PX, REACH_PX)


def stock_of(tiles: Tiles, count: int, mix: BlurMix) -> Stock:
    """`count` pieces of the tiles that are trained on."""
    draw, noise = _generators(STOCK_SEED, tiles)
    parts = []
    for start in range(0, count, 8):
        around = tiles.crops(draw, min(8, count - start), _side_around(tiles))
        parts.append(stocked(around, draw, noise, mix))
    return Stock(
        torch.cat([part.light for part in parts]),
        torch.cat([part.taken for part in parts]),
        torch.cat([part.sharp for part in parts]),
    )


def _generators(seed: int, tiles: Tiles) -> tuple[torch.Generator, torch.Generator]:
    device = tiles.pixels.device
    return torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed)


@dataclass
class DeringRecipe:
    """The network after the deconvolution; see `loop.Recipe`.

    Attributes:
        pieces: in the stock.
    """

    tiles: Tiles
    pieces: int = 2400
    batch: int = 8
    side: int = 128
    name: str = "dering"
    rate: float = 1e-3
    last_rate: float = 1e-6
    clip: float = 0.5
    warm_up: float = 0.02
    decay: float | None = None
    mix: BlurMix = BlurMix(coded=0.4)  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        self._stock: Stock | None = None

    def build(self) -> nn.Module:
        """A new network."""
        return Deringer()

    def entry(self, net: nn.Module) -> Callable[..., Any]:
        """The network itself."""
        return net

    def batch_of(self, draw: Draw) -> tuple[Tensor, ...]:
        """Deconvolved, shaken and sharp pieces, out of the stock."""
        if self._stock is None:
            self._stock = stock_of(self.tiles, self.pieces, self.mix)
        stock, device = self._stock, self.tiles.pixels.device
        which = torch.randint(len(stock.sharp), (self.batch,), generator=draw.decide)
        room = stock.sharp.shape[-1] - self.side + 1
        top, left = torch.randint(room, (2,), generator=draw.decide).tolist()
        turned, up, beside = (torch.randint(2, (3,), generator=draw.decide) > 0).tolist()
        pieces = []
        for pool in (stock.light, stock.taken, stock.sharp):
            part = pool[which.to(device), :, top : top + self.side, left : left + self.side]
            part = part.transpose(2, 3) if turned else part
            part = part.flip([dim for dim, yes in ((2, up), (3, beside)) if yes])
            pieces.append(part.float().div(255).contiguous(memory_format=torch.channels_last))
        return tuple(pieces)

    def loss(self, call: Callable[..., Any], *batch: Tensor) -> Tensor:
        """See `restoration_loss`."""
        light, taken, sharp = batch
        return restoration_loss(call(light, taken).float() - sharp)

    def look(self, net: nn.Module) -> dict[str, float]:
        """Gain in dB over the shaken tiles, held out, and over the deconvolved ones."""
        around = self.tiles.held_out(_side_around(self.tiles))
        if not len(around):
            return {}
        # Inference tensors would not do for training, so they are not kept either.
        stock = stocked(around, *_generators(LOOK_SEED, self.tiles), self.mix)
        light, taken, sharp = (x.float() / 255 for x in (stock.light, stock.taken, stock.sharp))
        better = measure.to_8_bit(net(light, taken))
        gains = [
            [measure.psnr(x, truth, MARGIN_PX) for x in three]
            for *three, truth in zip(better, light, taken, sharp, strict=True)
        ]
        best, plain, before = torch.tensor(gains).mean(0).tolist()
        return {"gain": best - before, "more": best - plain}

    def gates(self, net: nn.Module, folder: Path) -> list[Gate]:
        """The synthetic pairs, their shakes found in the picture.

        Args:
            net: float32 on the CPU.
            folder: with `deblur/kodak_synth`.
        """
        found = [gains(net, path) for path in pairs_in(folder / "deblur" / "kodak_synth")]
        whole, more = torch.tensor(found).mean(0).tolist()
        return [
            Gate("shaken pictures, mean gain in dB", whole, GAIN),
            Gate("more than the deconvolution, best shift", more, MORE),
        ]


def pairs_in(folder: Path) -> list[Path]:
    """The blurred pictures of a folder of pairs."""
    return sorted(folder.glob("*_blur.png"))


def gains(net: nn.Module, path: Path) -> tuple[float, float]:
    """Gain in dB over a blurred picture, and what the network adds at the best whole shift."""
    taken = measure.load(path)
    sharp = measure.load(path.with_name(path.name.replace("_blur.png", "_sharp.webp")))
    luma = ((measure.luma(taken)[0, 0] - 16) * (255 / 219)).numpy()

    def seen(rect: Rect) -> Any:
        return luma[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]

    size = Size(taken.shape[3], taken.shape[2])
    shake = estimate_shake(size, seen, torch.device("cpu"))
    if shake is None:
        return 0.0, 0.0
    light = Deconvolution(shake, lambda: None).light(taken, 0, 0)
    plain, better = (measure.to_8_bit(x) for x in (light, net(light, taken)))
    # Where the picture lies was decided before the network, which can only follow.
    more = [measure.psnr_shift(x, sharp, MARGIN_PX) for x in (better, plain)]
    gain = measure.psnr(better, sharp, MARGIN_PX) - measure.psnr(taken, sharp, MARGIN_PX)
    return gain, more[0] - more[1]

"""Removing JPEG artefacts and noise at source resolution, and estimating whether that is needed.

Editors hand over pixels, not files, so the JPEG quality is read from the picture: a JPEG leaves
steps on an 8 x 8 grid. Knows nothing of tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wallprint_protocol.print_size import Rect, Size

from ..imaging.local import local_max
from ..imaging.reach import FLAT_REACH_PX
from ..models.networks.cleaner import FADE
from . import jpeg_grid
from .enlarge import Apply, chroma_gate

BLOCK = 8
FULL_RANGE = 255.0  # a difference of one level is enough for the whole repair
SAMPLE_PX = 256
SAMPLES_A_SIDE = 4
GRID_SAMPLE_PX = 128  # of each sample, for the coefficients
# Mean step on the block borders in levels of 255, measured on LIVE1 crops and photographs at
# quality 87, 80, 70 ... 20 and 5 (docs/measurements.md), and what the network was trained to be
# told then: (100 - quality) / 95, as a percentage.
STEPS = (0.6, 0.9, 1.4, 2.0, 2.6, 3.3, 4.0, 5.8, 17.0)
AMOUNTS = (14, 21, 32, 42, 53, 63, 74, 84, 100)
VISIBLE_STEP = STEPS[0]
WORST_SIGMA = 20.0  # noise in levels of 255 for which the network was told 1
CERTAIN = 3.5
# A picture that was not cropped since has its grid at the origin, where chance puts it once in 64
# times. So less will do: of pictures of quality 60 this finds 62 of 76 instead of 47.
CERTAIN_AT_ORIGIN = 2.5
# No JPEG steps by more, not even at quality 5 (17 levels): that is a drawn grid of 8 px.
MOST_STEP = 20.0
MOST_MILD = 18  # at quality 83

Luma = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Blocking:
    """How strongly a picture shows a JPEG's 8 x 8 grid.

    Attributes:
        step: mean brightness step across the grid's borders beyond that of the pixels around, in
            levels of 255.
        certainty: how far the grid's phase stands out from the seven others, in their deviations.
        phase: (x, y) of the grid in the picture, 0..7; not (0, 0) in a cropped picture.
        coarse: the grid shows in the coefficients (`jpeg_grid`), be the steps visible or not, and
            the quality is 93 or less.
        mild: the coefficients say a quality of 83 or more; steps beyond that are the picture's own.
    """

    step: float
    certainty: float
    phase: tuple[int, int]
    coarse: bool = False
    mild: bool = False

    @property
    def compressed(self) -> bool:
        """Whether the picture was a JPEG of a quality that an enlargement would show."""
        if self.step > MOST_STEP:
            return False
        stepped = self.step >= VISIBLE_STEP and self._sure
        fine = self.mild and not self.coarse  # better than quality 93: nothing that would show
        at_origin = self.phase == (0, 0) and self.certainty >= CERTAIN_AT_ORIGIN and not fine
        return stepped or self.coarse or (at_origin and self.step >= VISIBLE_STEP)

    @property
    def _sure(self) -> bool:
        """The steps alone are proof."""
        return self.certainty >= CERTAIN

    @property
    def amount(self) -> int:
        """Repair, 0..100, that suits it; 0 when no grid can be told from the picture."""
        if not self.compressed or self.step < VISIBLE_STEP:
            return 0
        amount = round(float(np.interp(self.step, STEPS, AMOUNTS)))
        return min(amount, MOST_MILD) if self.mild and not self._sure else amount


def sample_rects(
    size: Size, a_side: int = SAMPLES_A_SIDE, side_px: int = SAMPLE_PX
) -> Iterator[Rect]:
    """Up to `a_side`^2 squares spread evenly over the picture; the whole of a small one."""
    side = Size(min(side_px, size.width), min(side_px, size.height))
    columns = min(a_side, -(-size.width // side.width))
    rows = min(a_side, -(-size.height // side.height))
    for row in range(rows):
        for column in range(columns):
            x = (size.width - side.width) * column // max(1, columns - 1)
            y = (size.height - side.height) * row // max(1, rows - 1)
            yield Rect(x, y, side.width, side.height)


def estimate_blocking(size: Size, luma: Callable[[Rect], Luma]) -> Blocking:
    """Measure the 8 x 8 grid of a picture from samples of it.

    Args:
        size: of the picture.
        luma: rectangle -> (H, W) float32 in levels of 255, perceptual.

    References:
        The idea of comparing steps on and off the grid: Wu and Yuen, A generalized
        block-edge impairment metric for video coding, IEEE SPL 4 (1997).
    """
    sums = np.zeros((2, BLOCK))
    counts = np.zeros((2, BLOCK))
    grid = jpeg_grid.Vanished.none()
    for rect in sample_rects(size):
        plane = luma(rect)
        grid.count(plane[:GRID_SAMPLE_PX, :GRID_SAMPLE_PX], rect.x, rect.y)
        for axis, origin in ((0, rect.x), (1, rect.y)):
            lines = plane if axis == 0 else plane.T
            if lines.shape[1] < 2 * BLOCK:
                continue
            step = np.abs(np.diff(lines, axis=1))
            # step[:, i] lies between pixels i and i + 1; compare it with the steps beside it.
            excess = (step[:, 1:-1] - 0.5 * (step[:, :-2] + step[:, 2:])).mean(0)
            bins = (np.arange(excess.size) + 2 + origin) % BLOCK
            sums[axis] += np.bincount(bins, excess, BLOCK)
            counts[axis] += np.bincount(bins, minlength=BLOCK)
    if not counts.all():
        return Blocking(0.0, 0.0, (0, 0))
    place = grid.place()
    steps, certainties, phases = [], [], []
    for axis, profile in enumerate(sums / counts):
        phase = int(profile.argmax()) if place is None else place[axis]
        others = np.delete(profile, phase)
        steps.append(float(profile[phase] - np.median(others)))
        certainties.append(steps[-1] / (float(others.std()) + 1e-6))
        phases.append(phase)
    return Blocking(
        min(steps), min(certainties), (phases[0], phases[1]), grid.coarse(), grid.mild()
    )


def strength_and_blend(amount: int) -> tuple[float, float]:
    """What a repair of 1..100 is for the network: its strength, and how much of it is used.

    The network knows no strength below FADE; there its answer is blended out.
    """
    wanted = amount / 100
    return max(FADE, wanted), min(1.0, wanted / FADE)


def repair(x: Tensor, network: Apply, blend: float) -> Tensor:
    """Blend in the network's answer; grey stays grey, and flat stays flat.

    Blocks of colour are 16 px wide, so the answer is taken as it is, slow parts included: without
    them a JPEG of quality 10 to 40 gains 0.15 to 0.35 dB less. Where everything within
    FLAT_REACH_PX is the same there is nothing to repair, and a network's own weak pattern (half a
    level, two at a picture's border) stays out.

    Args:
        x: (1, C, H, W) float32, C = 1, 3 or 4 (CMY together, K on its own).
        network: (1, 3, H, W) in [0, 1] -> the same shape.
        blend: 0..1.
    """
    if x.shape[1] == 4:
        return torch.cat([repair(x[:, :3], network, blend), repair(x[:, 3:], network, blend)], 1)
    inside = x.clamp(0.0, 1.0)
    grey = x.shape[1] == 1
    y = network(inside.expand(-1, 3, -1, -1).contiguous() if grey else inside)
    change = (y.mean(1, keepdim=True) if grey else y) - inside
    if not grey:
        mean = change.mean(1, keepdim=True)
        change = mean + (change - mean) * chroma_gate(inside)
    spread = local_max(inside, FLAT_REACH_PX) + local_max(-inside, FLAT_REACH_PX)
    uneven = (spread.amax(1, keepdim=True) * FULL_RANGE).clamp(max=1.0)
    return x + blend * uneven * change

"""Removing blur at source resolution, before enlarging; afterwards it would cost scale^2 more.

What removes it looks 100 px and farther, so its tiles have a grid of their own, which does not
depend on the tiles of the print. They are computed when the print's tiles first ask for them, and
kept while a later one may. Each is compared with its left and its upper neighbour, and both are
computed again with twice the border where they differ (`seams.py`). Knows nothing of files, print
sizes or of how much is needed (`blur.py`, `shake.py`).

References:
    Kim, Lee and Cho, MSSNet, ECCV 2022 workshops, arXiv 2202.09652.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from wallprint_protocol.print_size import Size

from ..imaging.local import gaussian_blur, local_max
from ..imaging.reach import SEAM_PX
from ..models.catalog import NetworkSpec
from ..models.engine import Network
from ..models.networks.mssnet import DRAFT_HEAD, HEADS
from .deconvolve import Deconvolution
from .enlarge import chroma_gate
from .guard import sound
from .seams import MAX_STEP, SeamCheck, step_between

Range = tuple[int, int]
# Where the source varies by less within FLAT_REACH_PX there is no edge to sharpen, only a
# network's own faint pattern, or rings from farther away: levels of 255.
FLAT_LOW, FLAT_HIGH = 0.25 / 255, 1.0 / 255
FLAT_REACH_PX = 16
LEAST_CORE_PX = 32
# Differences of colour are told from this brightness on, and so much more of them is none: of 1.
DARK, TINT = 0.02, 0.02
SLOW_PX = 16.0


class Restorer(Protocol):
    """What removes the blur from one window of a picture.

    Attributes:
        multiple: windows begin at multiples of this, and their sides are some.
        border_px: of a window, within which what it cannot see matters; a multiple of `multiple`.
        bytes_per_px: working memory.
        window_px: side of the windows with which it is fastest on a CPU.
    """

    multiple: int
    border_px: int
    bytes_per_px: float
    window_px: int

    def restored(self, inside: Tensor, x0: int, y0: int) -> Tensor:
        """(1, C, h, w) in [0, 1], C = 1 or 3, of the picture at (x0, y0) -> the same, sharp."""


def window_for(restorer: Restorer, memory_bytes: int, device_px: int = 0) -> int:
    """Side of the tiles: as large as memory and the restorer allow, its border being wide.

    Args:
        restorer: what removes the blur.
        memory_bytes: what a tile may use.
        device_px: larger than the restorer's own size, on a GPU.
    """
    fitting = int((memory_bytes / restorer.bytes_per_px) ** 0.5)
    least = 2 * restorer.border_px + LEAST_CORE_PX
    side = max(least, min(max(restorer.window_px, device_px), fitting))
    return side // restorer.multiple * restorer.multiple


class NetworkRestorer:
    """MSSNet; see `Restorer`.

    Args:
        network: as the engine gives it.
        size: of the picture.
        between: called between the network's stages; what it raises ends the work.
        draft: for a first look: the network's coarser scales only.
        on_redone: called when a window was computed again in float32.
    """

    def __init__(
        self,
        network: Network,
        size: Size,
        between: Callable[[], None],
        draft: bool = False,
        on_redone: Callable[[], None] = lambda: None,
    ) -> None:
        spec: NetworkSpec = network.spec
        self.multiple, self.window_px = spec.multiple, spec.window_px
        self.bytes_per_px = float(spec.bytes_per_px)
        self.border_px = -(-spec.reach_px // spec.multiple) * spec.multiple
        self._network, self._size, self._on_redone = network, size, on_redone
        self._more = (between, DRAFT_HEAD if draft else HEADS[-1])

    def restored(self, inside: Tensor, x0: int, y0: int) -> Tensor:
        """See `Restorer`."""
        grey = inside.shape[1] == 1
        x = inside.expand(-1, 3, -1, -1).contiguous() if grey else inside
        b2 = self._half(x, x0, y0)
        y = sound(self._network, x, b2, *self._more, on_redone=self._on_redone)
        return y.mean(1, keepdim=True) if grey else y

    def _half(self, x: Tensor, x0: int, y0: int) -> Tensor:
        """What the whole padded picture's half-size input has for a window at (x0, y0).

        Of n pixels, corner on corner, sample i of n / 2 lies at i (n - 1) / (n / 2 - 1), which is
        2 i + i / (n / 2 - 1): always between pixels 2 i and 2 i + 1, closer to the second the
        farther to the right. So a tile has all that its samples need.
        """
        for dim, origin, length in ((3, x0, self._size.width), (2, y0, self._size.height)):
            half = -(-length // self.multiple) * self.multiple // 2
            count = x.shape[dim] // 2
            index = torch.arange(count, dtype=torch.float64) + origin // 2
            share = (index / (half - 1)).to(x)
            share = share.view(-1, 1) if dim == 2 else share
            even = x[..., 0::2, :] if dim == 2 else x[..., 0::2]
            odd = x[..., 1::2, :] if dim == 2 else x[..., 1::2]
            x = torch.lerp(even, odd, share)
        return x


class ShakeRestorer:
    """Deconvolution of a shake, and the network that removes its rings; see `Restorer`.

    Args:
        deconvolution: of this picture's shake.
        network: as the engine gives it.
        size: of the picture.
        on_redone: called when a window was computed again in float32.
    """

    bytes_per_px = 1000.0
    window_px = 768

    def __init__(
        self,
        deconvolution: Deconvolution,
        network: Network,
        size: Size,
        on_redone: Callable[[], None] = lambda: None,
    ) -> None:
        self.multiple, self.border_px = network.spec.multiple, deconvolution.border_px
        self._deconvolution, self._network = deconvolution, network
        self._size, self._on_redone = size, on_redone
        self._reach_px = ceil(deconvolution.extent_px) + 2

    def restored(self, inside: Tensor, x0: int, y0: int) -> Tensor:
        """See `Restorer`."""
        # What the picture was padded with to whole multiples, nobody has seen.
        height, width = self._size.height - y0, self._size.width - x0
        light = self._deconvolution.light(inside[..., :height, :width], x0, y0)
        more = (inside.shape[3] - light.shape[3], inside.shape[2] - light.shape[2])
        light = F.pad(light, (0, more[0], 0, more[1]), mode="replicate")
        three = (light, inside)
        if inside.shape[1] == 1:
            three = (light.expand(-1, 3, -1, -1).contiguous(), inside.expand(-1, 3, -1, -1))
        change = sound(self._network, *three, on_redone=self._on_redone) - three[0]
        # Rings are fine; what is slower stays the picture's own, white above all.
        sharp = three[0] + change - gaussian_blur(change, SLOW_PX)
        if inside.shape[1] == 1:
            return sharp.mean(1, keepdim=True)
        return tinted_as_before(sharp, inside, self._reach_px)


def tinted_as_before(sharp: Tensor, taken: Tensor, reach_px: int) -> Tensor:
    """`sharp` with no tint that is stronger than all tints around in the picture that was taken.

    Rings lie in each colour by itself, stronger where that one has the stronger edge: beside a
    yellow edge they would be blue. A shake mixes colours, and so never makes them purer.

    Args:
        sharp: (1, 3, H, W), perceptual.
        taken: the same before, in [0, 1].
        reach_px: as far as light may have come.
    """
    grey, before = (x.mean(1, keepdim=True) for x in (sharp, taken))
    tint = (taken - before) / (before + DARK)
    most, least = local_max(tint, reach_px), -local_max(-tint, reach_px)
    bright = grey.clamp_min(0.0) + DARK
    own = (sharp - grey) / bright
    return grey + bright * torch.maximum(torch.minimum(own, most + TINT), least - TINT)


class Deblurring:
    """The source without blur.

    Args:
        size: of the source.
        clean: columns, rows -> (1, C, h, w) float32 planes of that part of the source, C = 1, 3 or
            4, everything before this stage done.
        restorer: what removes the blur.
        amount: share of the change that is added, 1..100.
        window_px: side of a tile; see `window_for`.
        seams: takes what is found where tiles meet.
    """

    def __init__(
        self,
        size: Size,
        clean: Callable[[Range, Range], Tensor],
        restorer: Restorer,
        amount: int,
        *,
        window_px: int,
        seams: SeamCheck,
    ) -> None:
        self._size, self._clean, self._restorer = size, clean, restorer
        self._share = amount / 100
        self._multiple, self._border = restorer.multiple, restorer.border_px
        self._core = max(LEAST_CORE_PX, window_px - 2 * self._border)
        self._core -= self._core % self._multiple
        self._seams = seams
        self._kept: dict[tuple[int, int], Tensor] = {}
        # The last pixels to the right of each tile and below: neighbours are compared with them,
        # also when the tile itself is forgotten.
        self._rims: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.tiles = 0  # computed so far

    def planes(self, xs: Range, ys: Range) -> Tensor:
        """(1, C, h, w): source columns `xs` and rows `ys`, deblurred.

        Rows above `ys` are forgotten: the print's tiles come from top to bottom.

        Raises:
            torch.OutOfMemoryError: not even a small tile fits.
        """
        while True:
            try:
                return self._stitched(xs, ys)
            except torch.OutOfMemoryError:
                if self._core <= LEAST_CORE_PX:
                    raise
            # Not in the handler, whose traceback keeps the tensors alive.
            self._core = max(LEAST_CORE_PX, self._core // 2 // self._multiple * self._multiple)
            self._kept.clear()
            self._rims.clear()

    def _stitched(self, xs: Range, ys: Range) -> Tensor:
        """`planes` from the tiles that it touches."""
        core = self._core
        for key in [key for key in self._kept if (key[0] + 1) * core <= ys[0]]:
            del self._kept[key]
        rows = range(ys[0] // core, -(-ys[1] // core))
        columns = range(xs[0] // core, -(-xs[1] // core))
        joined = torch.cat(
            [torch.cat([self._tile(row, column) for column in columns], 3) for row in rows], 2
        )
        left, top = xs[0] - columns[0] * core, ys[0] - rows[0] * core
        return joined[..., top : top + ys[1] - ys[0], left : left + xs[1] - xs[0]]

    def _tile(self, row: int, column: int) -> Tensor:
        key = (row, column)
        if key not in self._kept:
            self._keep(key, self._checked(row, column))
            self.tiles += 1
        return self._kept[key]

    def _keep(self, key: tuple[int, int], core: Tensor) -> None:
        self._kept[key] = core
        self._rims[key] = core[..., -SEAM_PX:].clone(), core[..., -SEAM_PX:, :].clone()

    def _checked(self, row: int, column: int) -> Tensor:
        """A core that agrees with its neighbours, both with twice the border if need be."""
        core, steps = self._compared(row, column, self._border)
        if max(steps.values(), default=0.0) > MAX_STEP:
            for key, step in steps.items():
                if step > MAX_STEP and key in self._kept:
                    self._keep(key, self._compared(*key, 2 * self._border)[0])
                    self._seams.redone += 1
            core, steps = self._compared(row, column, 2 * self._border)
            self._seams.redone += 1
        for step in steps.values():
            self._seams.note(step)
        return core

    def _compared(
        self, row: int, column: int, border: int
    ) -> tuple[Tensor, dict[tuple[int, int], float]]:
        """A core, and the step to each of its neighbours (row, column) that are there already."""
        drawn, left, top = self._compute(row, column, border)
        core, steps = drawn[..., top:, left:], {}
        beside, above = (row, column - 1), (row - 1, column)
        if left and beside in self._rims:
            steps[beside] = step_between(drawn[..., top:, :left], self._rims[beside][0], 2)
        if top and above in self._rims:
            steps[above] = step_between(drawn[..., :top, left:], self._rims[above][1], 3)
        return core.clone(), steps

    def _compute(self, row: int, column: int, border: int) -> tuple[Tensor, int, int]:
        """(1, C, h, w): one core, deblurred, as much of it as lies in the picture.

        To the left and above it are pixels of the neighbours; returns how many, too.
        """
        (x0, x1, left, right), (y0, y1, top, bottom) = (
            self._cut(n, length, border)
            for n, length in ((column, self._size.width), (row, self._size.height))
        )
        real = self._clean((x0, min(x1, self._size.width)), (y0, min(y1, self._size.height)))
        # The whole picture grows right and bottom to whole multiples, and each tile sees the same.
        mode = "reflect" if self._reflects() else "replicate"
        window = F.pad(real, (0, x1 - x0 - real.shape[3], 0, y1 - y0 - real.shape[2]), mode=mode)
        if window.shape[1] == 4:  # inks: CMY together, K as a grey picture of its own
            parts = (window[:, :3], window[:, 3:])
            change = torch.cat([self._change(part, x0, y0) for part in parts], 1)
        else:
            change = self._change(window, x0, y0)
        more_x, more_y = min(left, SEAM_PX), min(top, SEAM_PX)
        drawn = (window + self._share * change)[..., top - more_y : bottom, left - more_x : right]
        return drawn, more_x, more_y

    def _cut(self, number: int, length: int, border: int) -> tuple[int, int, int, int]:
        """One axis: window [start, stop) in the padded picture, core [a, b) within the window."""
        padded = self._padded(length)
        core = (number * self._core, min((number + 1) * self._core, length))
        start = max(0, core[0] - border)
        stop = min(padded, (number + 1) * self._core + border)
        return start, stop, core[0] - start, core[1] - start

    def _padded(self, length: int) -> int:
        return -(-length // self._multiple) * self._multiple

    def _reflects(self) -> bool:
        sides = (self._size.width, self._size.height)
        return all(self._padded(side) - side < side for side in sides)

    def _change(self, window: Tensor, x0: int, y0: int) -> Tensor:
        """What changes of a (1, C, h, w) window, C = 1 or 3, where there are edges."""
        inside = window.clamp(0.0, 1.0)
        change = self._restorer.restored(inside, x0, y0) - inside
        if inside.shape[1] > 1:
            mean = change.mean(1, keepdim=True)
            change = mean + (change - mean) * chroma_gate(inside)
        spread = local_max(inside, FLAT_REACH_PX) + local_max(-inside, FLAT_REACH_PX)
        lively = (spread.amax(1, keepdim=True) - FLAT_LOW) / (FLAT_HIGH - FLAT_LOW)
        return change * lively.clamp_(0.0, 1.0)

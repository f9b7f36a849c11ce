"""Bleed and gallery wrap: margins made of the finished picture, after all other work.

Copies finished pixels within the result's file, so a mirrored margin has the very bytes of what it
mirrors. Knows nothing of paper and millimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import torch
from torch import Tensor

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Window
from wallprint_protocol.request import Options, edge_samples

from ..imaging.convert import Planes, to_bytes
from ..raster import Raster

# Rows that the average colour of a picture is taken from.
AVERAGE_ROWS = 500
_ROWS = 64
_STRETCH = 4  # a stretched margin draws the picture's rim out to so many times its width
_NUMPY = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}


class Margins:
    """Fills the margins as the rows within become final.

    Margin pixel k beside the border (k = 0, 1, ...) repeats pixel k within, the border pixel
    itself included; stretched, it has the value at (k + 1/2) / 4 - 1/2 within, between two pixels
    a mean; or all have one colour, given or the picture's average. First left and right, then whole
    rows at top and bottom with the corners.

    Args:
        result: the picture, margins included.
        layout: of its pixels.
        options: `mirror` (each at most what lies within), `edge_fill` and `edge_colour`.
        average: (C,) mean colour of the picture, perceptual, inks as 1 - ink; for "average".
    """

    def __init__(
        self, result: Raster, layout: PixelLayout, options: Options, average: Tensor | None = None
    ) -> None:
        self._result, self._fill = result, options.edge_fill
        self._left, self._top, self._right, self._bottom = options.mirror
        self._dtype, self._channels = np.dtype(_NUMPY[layout.dtype]), layout.channels
        self._stop = result.size.height - self._bottom  # first row of the lower margin
        self._widened = self._top  # rows above have their left and right margins
        self._pixel = b""
        if self._fill == "colour":
            self._pixel = _pixel(torch.tensor(_given(options.edge_colour, layout)), layout)
        elif self._fill == "average":
            assert average is not None
            self._pixel = _pixel(average, layout)

    def extend(self, rows_done: int) -> int:
        """Rows above `rows_done` are final between the margins; how many are final in all."""
        done = min(max(rows_done, self._top), self._stop)
        for y in range(self._widened, done, _ROWS):
            self._widen(y, min(_ROWS, done - y))
        self._widened = max(self._widened, done)
        if done < min(self._top + self._reach(self._top), self._stop):
            return 0  # the upper margin is not known yet, and rows leave in order
        self._fill_rows(self._top, self._top, 1, self._top - 1, -1)
        self._top = 0
        if done < self._stop:
            return done
        self._fill_rows(self._bottom, self._stop - 1, -1, self._stop, 1)
        return self._result.size.height

    def _reach(self, margin: int) -> int:
        """How many pixels within decide a margin."""
        return {"mirror": margin, "stretch": ceil(margin / _STRETCH)}.get(self._fill, 0)

    def _between(self, margin: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each margin pixel the two within that it lies between, and the second's weight."""
        step = 1 / _STRETCH if self._fill == "stretch" else 1.0
        at = np.clip((np.arange(margin) + 0.5) * step - 0.5, 0.0, max(0, self._reach(margin) - 1))
        first = np.floor(at).astype(np.intp)
        second = np.minimum(first + 1, max(0, self._reach(margin) - 1))
        return first, second, (at - first).astype(np.float32)

    def _mean(self, first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Samples between two; the first's own bytes where the weight is 0."""
        if not weight.any():
            return first
        mean: np.ndarray = first + weight * (second.astype(np.float32) - first)
        if self._dtype.kind == "u":
            mean = np.floor(mean + 0.5)
        return mean.astype(self._dtype)

    def _widen(self, y: int, rows: int) -> None:
        width = self._result.size.width
        for margin, inside, outside in (
            (self._left, self._left, 0),
            (self._right, width - self._right - self._reach(self._right), width - self._right),
        ):
            if not margin:
                continue
            target = Rect(outside, y, margin, rows)
            if self._pixel:
                self._result.write(target, self._pixel * (margin * rows))
                continue
            strip = self._pixels(Rect(inside, y, self._reach(margin), rows))
            if outside:  # counted from the border: outwards on the right, inwards in the strip
                strip = strip[:, ::-1]
            first, second, weight = self._between(margin)
            filled = self._mean(strip[:, first], strip[:, second], weight[:, None])
            self._result.write(target, (filled if outside else filled[:, ::-1]).tobytes())

    def _fill_rows(
        self, margin: int, inside: int, inwards: int, outside: int, outwards: int
    ) -> None:
        """Whole rows from `outside` on, of those from `inside` on."""
        width = self._result.size.width
        if self._pixel:
            for k in range(margin):
                self._result.write(Rect(0, outside + k * outwards, width, 1), self._pixel * width)
            return
        for k, (first, second, weight) in enumerate(zip(*self._between(margin), strict=True)):
            row = self._pixels(Rect(0, inside + int(first) * inwards, width, 1))
            if weight:
                other = self._pixels(Rect(0, inside + int(second) * inwards, width, 1))
                row = self._mean(row, other, weight)
            self._result.write(Rect(0, outside + k * outwards, width, 1), row.tobytes())

    def _pixels(self, rect: Rect) -> np.ndarray:
        """(h, w, channels) samples of the result."""
        shape = (rect.height, rect.width, self._channels)
        return np.frombuffer(self._result.read(rect), self._dtype).reshape(shape)


def average_colour(
    window: Window, read: Callable[[tuple[int, int], tuple[int, int]], Planes]
) -> Tensor:
    """(C,) mean colour of what is printed, from rows spread over it; not of what is hidden.

    Args:
        window: of the source that is printed.
        read: columns and rows of the source, as planes.
    """
    (x0, x1), (y0, y1) = (
        (max(0, min(round(start), round(start + length) - 1)), round(start + length))
        for start, length in ((window.x, window.width), (window.y, window.height))
    )
    total, weight = torch.zeros((), dtype=torch.float64), 0.0
    for y in range(y0, y1, max(1, (y1 - y0) // AVERAGE_ROWS)):
        planes = read((x0, x1), (y, y + 1))
        seen = torch.ones_like(planes.colour[:, :1]) if planes.alpha is None else planes.alpha
        total = total + (planes.colour * seen).double().sum((0, 2, 3)).cpu()
        weight += float(seen.double().sum())
    return (total / max(weight, 1e-9)).float()


def _given(colour: str, layout: PixelLayout) -> list[float]:
    """Channels of `Options.edge_colour`, inks as 1 - ink."""
    samples = edge_samples(colour, layout)
    return [1.0 - ink for ink in samples] if layout.model.startswith("CMYK") else list(samples)


def _pixel(colour: Tensor, layout: PixelLayout) -> bytes:
    """One opaque pixel of a colour (C,)."""
    return to_bytes(Planes(colour.reshape(1, -1, 1, 1), torch.ones(1, 1, 1, 1)), layout)

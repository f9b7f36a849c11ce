"""Exact separable resampling with weights from global coordinates.

A pixel's weights depend on where it lies in the whole picture, never on the tile it is computed
in, so tiles join without a seam. Knows nothing of networks or of colour.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor

import torch
from torch import Tensor

from ..imaging.reach import KERNEL_LOBES as LOBES


def lanczos3(t: Tensor) -> Tensor:
    """Lanczos window of three lobes.

    References:
        Duchon, Lanczos filtering in one and two dimensions, J. Appl. Meteorol. 18 (1979).
    """
    return torch.where(t.abs() < LOBES, torch.sinc(t) * torch.sinc(t / LOBES), torch.zeros_like(t))


@lru_cache(maxsize=64)
def _taps(
    offset: float, step: float, out: tuple[int, int], source: tuple[int, int], length: int
) -> tuple[Tensor, Tensor]:
    """Indices (taps, n) into the cut [source) and weights (taps, n) in float32, summing to 1.

    Args:
        offset: input coordinate (pixel centres at whole numbers) of output pixel 0's centre.
        step: input px per output px.
        out: output pixels [start, stop).
        source: input pixels [start, stop) that are at hand.
        length: of the whole input; beyond it the border pixel is repeated.
    """
    widen = max(1.0, step)  # below 1:1 the kernel is the antialiasing filter
    centre = offset + step * torch.arange(out[0], out[1], dtype=torch.float64)
    count = 2 * ceil(LOBES * widen) + 1
    first = torch.floor(centre - LOBES * widen).to(torch.int64)
    index = first + torch.arange(count)[:, None]  # (taps, n)
    weight = lanczos3((index - centre) / widen)
    weight = weight / weight.sum(0)
    used = weight.abs().amax(1) > 1e-12
    index, weight = index[used].clamp(0, length - 1), weight[used]
    if int(index.min()) < source[0] or int(index.max()) >= source[1]:
        raise ValueError(
            f"resampling needs input {int(index.min())}..{int(index.max())}, has {source}"
        )
    return index - source[0], weight.to(torch.float32)


def resample_axis(
    x: Tensor,
    dim: int,
    *,
    offset: float,
    step: float,
    out: tuple[int, int],
    source: tuple[int, int],
    length: int,
) -> Tensor:
    """Resample one axis of `x` (float32, any range); arguments as in `_taps`.

    A whole-pixel shift without scaling is a plain cut, bit for bit.
    """
    shift = offset - floor(offset + 0.5)
    if abs(step - 1.0) < 1e-12 and abs(shift) < 1e-9:
        start = floor(offset + 0.5) + out[0]
        if start >= source[0] and start + out[1] - out[0] <= min(source[1], length):
            return x.narrow(dim, start - source[0], out[1] - out[0])
    index, weight = _taps(offset, step, out, source, length)
    index, weight = index.to(x.device), weight.to(x.device)
    shape = [1] * x.dim()
    shape[dim] = -1
    result = x.index_select(dim, index[0]) * weight[0].view(shape)
    for tap in range(1, len(index)):
        result.addcmul_(x.index_select(dim, index[tap]), weight[tap].view(shape))
    return result

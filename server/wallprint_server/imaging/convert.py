"""Bytes of a layer <-> float32 planes in [0, 1] on the perceptual curve, and back, exactly.

The only place that knows byte layouts. 8- and 16-bit values survive a round trip bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size

from .color import decode_srgb, encode_srgb

_NUMPY = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}
_FULL_SCALE = {"u8": 255.0, "u16": 65535.0}
MAX_HALF = 65504.0  # the largest finite half float


@dataclass(frozen=True)
class Planes:
    """A rectangle of a picture, ready for computing.

    Attributes:
        colour: (1, C, H, W) float32, perceptual curve, C = 1 grey, 3 RGB, 4 inks as 1 - ink (so
            that paper is white and 1.0 everywhere). In [0, 1]; floating-point documents may go
            beyond. Straight, never premultiplied.
        alpha: (1, 1, H, W) float32 in [0, 1], or None.
    """

    colour: Tensor
    alpha: Tensor | None


def to_planes(
    data: bytes | bytearray | memoryview, size: Size, layout: PixelLayout, device: torch.device
) -> Planes:
    """Interleaved bytes of `size` pixels -> planes on `device`.

    NaN in floating-point documents becomes 0, infinities the largest finite half float: one bad
    pixel must not spread through a network.
    """
    array = np.frombuffer(data, dtype=_NUMPY[layout.dtype])
    array = array.reshape(size.height, size.width, layout.channels)
    planes = torch.from_numpy(array.astype(np.float32)).to(device)
    planes = planes.permute(2, 0, 1)[None].contiguous()  # (H, W, C) -> (1, C, H, W)
    if layout.dtype in _FULL_SCALE:
        planes /= _FULL_SCALE[layout.dtype]
    else:
        planes = torch.nan_to_num(planes, nan=0.0, posinf=MAX_HALF, neginf=-MAX_HALF)
    colour, alpha = planes, None
    if layout.has_alpha:
        colour, alpha = planes[:, :-1], planes[:, -1:].clamp(0.0, 1.0)
        if layout.alpha == "premul":
            colour = torch.where(alpha > 0, colour / alpha.clamp_min(1e-12), colour)
    if layout.model == "BGRA":
        colour = colour.flip(1)
    if layout.model.startswith("CMYK"):
        colour = 1.0 - colour
    elif layout.trc == "linear":
        colour = encode_srgb(colour)
    return Planes(colour.contiguous(), alpha)


def is_opaque(data: bytes | bytearray | memoryview, layout: PixelLayout) -> bool:
    """Whether every pixel of a layout with alpha is fully opaque."""
    alpha = np.frombuffer(data, dtype=_NUMPY[layout.dtype])[layout.channels - 1 :: layout.channels]
    return bool((alpha == _FULL_SCALE.get(layout.dtype, 1.0)).all())


def to_bytes(planes: Planes, layout: PixelLayout) -> bytes:
    """Planes -> interleaved bytes; the inverse of `to_planes`. Integers round half up, clipped."""
    colour = planes.colour
    if layout.model.startswith("CMYK"):
        colour = 1.0 - colour
    elif layout.trc == "linear":
        colour = decode_srgb(colour)
    if layout.model == "BGRA":
        colour = colour.flip(1)
    parts = [colour]
    if layout.has_alpha:
        if planes.alpha is None:
            raise ValueError(f"{layout.model} needs an alpha plane")
        if layout.alpha == "premul":
            parts = [colour * planes.alpha]
        parts.append(planes.alpha)
    planes_out = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    if layout.dtype in _FULL_SCALE:
        full = _FULL_SCALE[layout.dtype]
        # Never negative, so that cutting the fraction off is the floor.
        planes_out = planes_out.mul(full).add_(0.5).clamp_(0.0, full)
        planes_out = planes_out.to(torch.uint8 if layout.dtype == "u8" else torch.uint16)
    elif layout.dtype == "f16":
        planes_out = planes_out.clamp(-MAX_HALF, MAX_HALF)
    array = planes_out.cpu().numpy().astype(_NUMPY[layout.dtype], copy=False)
    # (1, C, H, W) -> (H, W, C), on the small samples
    return np.ascontiguousarray(array[0].transpose(1, 2, 0)).tobytes()


def mask_to_plane(
    data: bytes | bytearray | memoryview, size: Size, layout: PixelLayout, device: torch.device
) -> Tensor:
    """A selection's bytes -> (1, 1, H, W) float32 in [0, 1]; never curve-encoded."""
    array = np.frombuffer(data, dtype=_NUMPY[layout.dtype]).astype(np.float32)
    plane = torch.from_numpy(array.reshape(1, 1, size.height, size.width)).to(device)
    return (plane / _FULL_SCALE.get(layout.dtype, 1.0)).clamp_(0.0, 1.0)

"""Bytes of a picture as luma and small colours, by numpy alone, for what is measured before a run.

The measures look at samples and need no torch, whose import alone takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size

Levels = npt.NDArray[np.float32]
Pixels = bytes | bytearray | memoryview
Read = Callable[[Rect], Pixels]

_NUMPY = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}
_FULL_SCALE = {"u8": 255.0, "u16": 65535.0}
LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # ITU-R BT.709


def colour_levels(data: Pixels, size: Size, layout: PixelLayout) -> Levels:
    """(H, W, C) float32 in levels of 255 on the perceptual curve, on white; C = 1, 3, or 4 inks.

    Inks count as 1 - ink, so that paper is white.
    """
    values = np.frombuffer(data, dtype=_NUMPY[layout.dtype]).astype(np.float32)
    values = values.reshape(size.height, size.width, layout.channels)
    if layout.dtype in _FULL_SCALE:
        values *= np.float32(1 / _FULL_SCALE[layout.dtype])
    else:
        values = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    colour: Levels = values[..., : layout.colour_channels]
    alpha = np.clip(values[..., -1:], 0.0, 1.0) if layout.has_alpha else None
    if alpha is not None and layout.alpha == "premul":
        colour = np.asarray(colour / np.maximum(alpha, 1e-6), dtype=np.float32)
    if layout.model == "BGRA":
        colour = colour[..., ::-1]
    colour = np.asarray(np.clip(colour, 0.0, 1.0), dtype=np.float32)
    if layout.model.startswith("CMYK"):
        colour = 1.0 - colour
    elif layout.trc == "linear":  # IEC 61966-2-1
        curve = 1.055 * np.maximum(colour, 1e-9) ** (1 / 2.4) - 0.055
        colour = np.where(colour <= 0.0031308, 12.92 * colour, curve).astype(np.float32)
    if alpha is not None:  # what nobody sees says nothing about the picture
        colour = np.asarray(1.0 + alpha * (colour - 1.0), dtype=np.float32)
    levels: Levels = (colour * np.float32(255.0)).astype(np.float32, copy=False)
    return levels


def shown_levels(data: Pixels, size: Size, layout: PixelLayout) -> Levels:
    """`colour_levels` as a screen shows them, (H, W, 1 or 3); inks by the plainest of rules."""
    levels = colour_levels(data, size, layout)
    if levels.shape[2] == 4:
        levels = np.asarray(levels[..., :3] * levels[..., 3:] / 255, dtype=np.float32)
    return levels


def shown_icc(icc: bytes, layout: PixelLayout) -> bytes:
    """The profile that suits `shown_levels`: one of inks or of linear light does not."""
    return b"" if layout.model.startswith("CMYK") or layout.trc == "linear" else icc


def luma_levels(levels: Levels) -> Levels:
    """(H, W) luma of `colour_levels`; of inks their mean."""
    if levels.shape[2] == 3:
        return np.asarray(levels @ LUMA, dtype=np.float32)
    return np.asarray(levels.mean(2), dtype=np.float32)


def luma_reader(read: Read, layout: PixelLayout) -> Callable[[Rect], Levels]:
    """Rectangle -> (H, W) luma in levels of 255."""
    return lambda rect: luma_levels(colour_levels(read(rect), rect.size, layout))

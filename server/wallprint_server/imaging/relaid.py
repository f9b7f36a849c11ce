"""A picture file's pixels as an editor holds them: other channel order, with alpha. No values move.

What an editor sent was a layer's bytes; the file that the layer came from, or was saved to, has the
same samples in the file's own order. Knows nothing of passports.
"""

from __future__ import annotations

import numpy as np

from wallprint_protocol.errors import BadInput
from wallprint_protocol.job_run import Buffer, Read
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect

from .files_in import Source

_NUMPY = {"u8": "<u1", "u16": "<u2", "f16": "<f2", "f32": "<f4"}
_FULL = {"u8": 255, "u16": 65535, "f16": 1.0, "f32": 1.0}


def reader_in(source: Source, layout: PixelLayout, raw: Read | None = None) -> Read:
    """Reads rectangles of a picture in another layout.

    Args:
        source: the picture.
        layout: wanted; its curve is taken as it is, since no value changes.
        raw: reads the picture's bytes; `source.read` by default.

    Raises:
        BadInput: the samples themselves would have to change; says what they are.
    """
    have, want = source.layout, layout
    raw = raw or source.read
    if (have.model, have.dtype, have.alpha) == (want.model, want.dtype, want.alpha):
        return raw
    colours = have.model.removesuffix("A"), want.model.removesuffix("A").replace("BGR", "RGB")
    # Half floats are saved as floats, and come back without loss.
    same = have.dtype == want.dtype or (have.dtype, want.dtype) == ("f32", "f16")
    if colours[0] != colours[1] or not same or "premul" in (have.alpha, want.alpha):
        raise BadInput(
            f"{source.path.name} has {have.model} pixels of {have.dtype} and alpha {have.alpha}; "
            f"the print was made from {want.model} pixels of {want.dtype} and alpha {want.alpha}. "
            "Save the layer without changing its colour model, depth or transparency."
        )
    if have.has_alpha and not want.has_alpha:
        raise BadInput(
            f"{source.path.name} has transparency, and the layer that the print was made from has "
            "none; name the picture that the layer came from."
        )
    order = list(range(have.colour_channels))
    if want.model.startswith("BGR"):
        order = [2, 1, 0]

    def read(rect: Rect) -> Buffer:
        shape = (rect.height, rect.width, have.channels)
        pixels = np.frombuffer(raw(rect), _NUMPY[have.dtype]).reshape(shape)
        out = np.empty((*shape[:2], want.channels), _NUMPY[want.dtype])
        out[..., : len(order)] = pixels[..., order]
        if want.has_alpha:
            out[..., -1] = pixels[..., -1] if have.has_alpha else _FULL[want.dtype]
        return out.tobytes()

    return read

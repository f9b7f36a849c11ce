"""GIMP's drawables as raw strips: which layout their bytes have, reading, writing.

No arithmetic on pixels. Every read and write names the layer's *own* babl format, which carries the
colour space; the plain name would mean sRGB and silently convert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gi.repository import Babl, Gegl, Gimp

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size

from .texts import _

Read = Callable[[Rect], bytes]

# babl's name of the colour model -> ours, and the transfer curve. R'G'B' is the image's own curve,
# R~G~B~ sRGB's, RGB linear light; the same three for grey.
_MODELS = {
    "R'G'B'": ("RGB", "perceptual"),
    "R~G~B~": ("RGB", "perceptual"),
    "RGB": ("RGB", "linear"),
    "Y'": ("GRAY", "perceptual"),
    "Y~": ("GRAY", "perceptual"),
    "Y": ("GRAY", "linear"),
}
_DTYPES = {"u8": "u8", "u16": "u16", "half": "f16", "float": "f32"}
# The wire has no 32-bit integers and no doubles; float32 is what comes nearest.
_NEAREST = {"u32": "float", "double": "float"}
_STRIP_ROWS = 256  # measured: the fastest height for reading from GIMP


@dataclass(frozen=True)
class Format:
    """The bytes of a drawable.

    Attributes:
        layout: ours.
        name: babl's, colour space included; for both reading and writing.
        narrowed: babl's sample type when the wire cannot hold it exactly, else "".
        palette: whether these are the colours of an indexed drawable.
    """

    layout: PixelLayout
    name: str
    narrowed: str = ""
    palette: bool = False


def format_of(drawable: Gimp.Drawable) -> Format:
    """How the drawable's pixels travel.

    Raises:
        BadInput: a format that GIMP itself does not offer for layers.
    """
    own = drawable.get_format()
    if drawable.is_indexed():  # the own name is private to GIMP; palettes are 8 bits, sRGB-like
        model = "R'G'B'A" if drawable.has_alpha() else "R'G'B'"
        own, palette = Babl.format_with_space(f"{model} u8", own), True
    else:
        palette = False
    model, kind = Babl.format_get_encoding(own).split(" ")
    carried = _NEAREST.get(kind, kind)
    if carried != kind:
        own = Babl.format_with_space(f"{model} {carried}", own)
    alpha = model.endswith("A")
    known = _MODELS.get(model[:-1] if alpha else model)
    if known is None or carried not in _DTYPES:
        raise BadInput(
            _("Layers of the kind “{kind}” cannot be enlarged.").format(kind=f"{model} {kind}")
        )
    layout = PixelLayout(
        known[0] + ("A" if alpha else ""),
        _DTYPES[carried],
        "straight" if alpha else "none",
        known[1],
    )
    return Format(layout, Babl.get_name(own), kind if carried != kind else "", palette)


def size_of(drawable: Gimp.Drawable) -> Size:
    """Width and height."""
    return Size(drawable.get_width(), drawable.get_height())


def reader(drawable: Gimp.Drawable, name: str, *, dx: int = 0, dy: int = 0) -> Read:
    """Reads strips of a drawable in a format; (dx, dy) is added to the asked position.

    What lies outside the drawable reads as zeros.
    """
    buffer = drawable.get_buffer()

    def read(rect: Rect) -> bytes:
        parts = []
        for y in range(rect.y, rect.y + rect.height, _STRIP_ROWS):
            rows = min(_STRIP_ROWS, rect.y + rect.height - y)
            box = Gegl.Rectangle.new(rect.x + dx, y + dy, rect.width, rows)
            parts.append(buffer.get(box, 1.0, name, Gegl.AbyssPolicy.NONE))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def writer(buffer: Gegl.Buffer, name: str, *, dx: int = 0, dy: int = 0) -> Callable[..., None]:
    """Writes strips into a buffer. GEGL takes `bytes`; a view would be copied byte by byte."""

    def write(rect: Rect, pixels: memoryview) -> None:
        box = Gegl.Rectangle.new(rect.x + dx, rect.y + dy, rect.width, rect.height)
        buffer.set(box, name, bytes(pixels))

    return write


def selection_reader(image: Gimp.Image, offset: tuple[int, int]) -> tuple[PixelLayout, Read]:
    """The selection as a grey picture over a layer at `offset`; 0 outside the canvas."""
    mask = image.get_selection()
    model, kind = Babl.format_get_encoding(mask.get_format()).split(" ")
    if kind not in _DTYPES:
        kind = "float"
    layout = PixelLayout("GRAY", _DTYPES[kind])
    return layout, reader(mask, f"{model} {kind}", dx=offset[0], dy=offset[1])


def copy(source: Gimp.Drawable, mask: Gimp.LayerMask, *, dx: int, dy: int) -> None:
    """Fill a mask with a grey drawable's values, strip by strip, in the mask's own format."""
    model, kind = Babl.format_get_encoding(mask.get_format()).split(" ")
    name, size = f"{model} {kind}", size_of(mask)
    buffer = mask.get_buffer()
    read, write = reader(source, name, dx=dx, dy=dy), writer(buffer, name)
    for y in range(0, size.height, _STRIP_ROWS):
        strip = Rect(0, y, size.width, min(_STRIP_ROWS, size.height - y))
        write(strip, memoryview(read(strip)))
    buffer.flush()

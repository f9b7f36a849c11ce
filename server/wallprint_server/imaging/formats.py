"""Which output format can hold which print, and what it costs: checked before any work begins.

Knows nothing of encoding; `files_out` does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import MAX_SIDE_PX, Size

MAX_OUTPUT_PX = 4_096_000_000
MAX_OUTPUT_BYTES = 64 << 30


@dataclass(frozen=True)
class Format:
    """An output format.

    Attributes:
        name: as users call it.
        suffixes: of file names, lower case.
        max_side_px: longest side that its encoder writes.
    """

    name: str
    suffixes: tuple[str, ...]
    max_side_px: int


TIFF = Format("TIFF", (".tif", ".tiff"), MAX_SIDE_PX)
PNG = Format("PNG", (".png",), MAX_SIDE_PX)
JPEG = Format("JPEG", (".jpg", ".jpeg"), 65_500)  # libjpeg's own limit; the format's is 65,535
FORMATS = (TIFF, PNG, JPEG)


def format_of(path: Path) -> Format:
    """Format by the file name's end.

    Raises:
        BadInput: none of ours.
    """
    for form in FORMATS:
        if path.suffix.lower() in form.suffixes:
            return form
    ending = f"the ending {path.suffix!r}" if path.suffix else "no ending"
    raise BadInput(
        f"The output {path.name} has {ending}; wallprint writes .tif, .png and .jpg "
        "(take .tif: it holds every size and depth)."
    )


def conversion_notes(form: Format, layout: PixelLayout) -> list[str]:
    """What the format cannot keep of the pixels, one sentence each; [] when it keeps all."""
    notes = []
    if form is JPEG and layout.dtype != "u8":
        notes.append("JPEG holds 8 bits a channel: the result was rounded; TIFF keeps all bits.")
    if form is PNG and layout.dtype in ("f16", "f32"):
        notes.append("PNG holds 16 bits a channel: floating point was rounded and clipped to 0..1.")
    if form is JPEG and layout.has_alpha:
        notes.append("JPEG has no transparency: the picture was laid on white.")
    if form is PNG and layout.alpha == "premul":
        notes.append("PNG has straight alpha only: the colours were divided by their alpha.")
    return notes


def check_output(path: Path, size: Size, layout: PixelLayout) -> Format:
    """The format, if it can hold the print.

    Raises:
        BadInput: unknown ending, too many pixels, or pixels of a kind that the format cannot hold;
            names the cure.
    """
    form = format_of(path)
    nbytes = size.pixels * layout.bytes_per_pixel
    if size.pixels > MAX_OUTPUT_PX or nbytes > MAX_OUTPUT_BYTES:
        raise BadInput(
            f"The print would have {size.width}x{size.height} px "
            f"({size.pixels / 1e6:.0f} megapixels, {nbytes / 2**30:.1f} GiB); wallprint makes up "
            f"to {MAX_OUTPUT_PX // 10**6} megapixels and {MAX_OUTPUT_BYTES >> 30} GiB. "
            "Choose a smaller print or ppi."
        )
    longest = max(size.width, size.height)
    if longest > form.max_side_px:
        cure = "Choose a smaller print or ppi."
        if form is not TIFF:
            cure = f"Write a TIFF instead: -o {path.with_suffix('.tif').name}"
        raise BadInput(
            f"The print would be {size.width}x{size.height} px, but a {form.name} file holds at "
            f"most {form.max_side_px} px a side. {cure}"
        )
    instead = f"write a TIFF instead: -o {path.with_suffix('.tif').name}"
    if layout.model == "CMYKA" and form is not TIFF:
        raise BadInput(f"{form.name} cannot hold CMYK with transparency; {instead}")
    if layout.model == "CMYK" and form is PNG:
        raise BadInput(f"PNG cannot hold CMYK; {instead}")
    linear_loss = layout.dtype in ("f16", "f32") if form is PNG else True
    if layout.trc == "linear" and form is not TIFF and linear_loss:
        raise BadInput(f"{form.name} has too few levels for linear light; {instead}")
    return form

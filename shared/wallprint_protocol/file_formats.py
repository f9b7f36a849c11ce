"""Which file format can hold which print, how large the file gets, and what is lost.

Checked before any work begins; the dialogs and `wallprint plan` tell it. Knows nothing of encoding.

References:
    TIFF 6.0; PNG Specification (Third Edition); ITU-T T.81; ISO 32000-1, 7.5.4 (PDF: a cross
    reference has ten digits); Adobe Photoshop File Formats (PSD 30,000 px, PSB 300,000 px).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import BadInput
from .pixels import PixelLayout
from .print_size import MAX_SIDE_PX, Size
from .words import N_, Sentence

MAX_OUTPUT_PX = 4_096_000_000
MAX_OUTPUT_BYTES = 64 << 30
# Raw bytes from which on compression is not trusted to stay below TIFF's 4 GiB.
BIGTIFF_FROM_BYTES = 4_000_000_000
# Bytes a pixel of JPEG at our quality, by the number of colours (docs/measurements.md).
_JPEG_BYTES_PER_PX = {1: 0.3, 3: 0.4, 4: 1.0}


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: as users call it.
        suffixes: of file names, lower case.
        max_side_px: longest side that its encoder writes.
        max_bytes: of a file, 0 where the disk is the limit.
        pages: whether a file can hold several panels.
    """

    name: str
    suffixes: tuple[str, ...]
    max_side_px: int
    max_bytes: int = 0
    pages: bool = False


TIFF = Format("TIFF", (".tif", ".tiff"), MAX_SIDE_PX)
PNG = Format("PNG", (".png",), MAX_SIDE_PX)
JPEG = Format("JPEG", (".jpg", ".jpeg"), 65_500)  # libjpeg's own limit; the format's is 65,535
PDF = Format("PDF", (".pdf",), MAX_SIDE_PX, max_bytes=9_999_999_999, pages=True)
FORMATS = (TIFF, PNG, JPEG, PDF)
# What others save a print as, known for their limits; wallprint does not write them.
NOT_WRITTEN = (
    Format("PSD", (".psd",), 30_000, max_bytes=2_000_000_000),
    Format("PSB", (".psb",), 300_000),
)


def format_of(path: Path) -> Format:
    """Format by the file name's end, also one of NOT_WRITTEN, which `check_output` refuses.

    Raises:
        BadInput: none of those.
    """
    for form in (*FORMATS, *NOT_WRITTEN):
        if path.suffix.lower() in form.suffixes:
            return form
    ending = f"the ending {path.suffix!r}" if path.suffix else "no ending"
    raise BadInput(
        f"The output {path.name} has {ending}; wallprint writes .tif, .png, .jpg and .pdf "
        "(take .tif: it holds every size and depth)."
    )


def file_bytes(form: Format, size: Size, layout: PixelLayout) -> int:
    """Bytes of the file: what it needs at most, and for JPEG about what it gets.

    TIFF, PNG and PDF are compressed without loss, by an amount that the picture decides.
    """
    if form is JPEG:
        return round(size.pixels * _JPEG_BYTES_PER_PX[layout.colour_channels])
    sample = 1 if layout.dtype == "u8" else 4 if layout.dtype == "f32" and form is TIFF else 2
    return size.pixels * layout.channels * sample


def conversion_notes(form: Format, layout: PixelLayout) -> list[str]:
    """What the format cannot keep of the pixels, one sentence each; [] when it keeps all."""
    notes = []
    if form is JPEG and layout.dtype != "u8":
        notes.append("JPEG holds 8 bits a channel: the result was rounded; TIFF keeps all bits.")
    if form in (PNG, PDF) and layout.dtype in ("f16", "f32"):
        notes.append(
            f"{form.name} holds 16 bits a channel: floating point was rounded and clipped to 0..1."
        )
    if form is JPEG and layout.has_alpha:
        notes.append("JPEG has no transparency: the picture was laid on white.")
    if form is PNG and layout.alpha == "premul":
        notes.append("PNG has straight alpha only: the colours were divided by their alpha.")
    return notes


def unfit(
    form: Format, size: Size, layout: PixelLayout, sheets: Sequence[Size] = ()
) -> Sentence | None:
    """Why a format cannot hold a print; None when it can.

    Args:
        form: the format.
        size: of the whole print, px.
        layout: of its pixels.
        sheets: the papers it is cut into, px; the whole by default.
    """
    sheets = sheets or [size]
    nbytes = size.pixels * layout.bytes_per_pixel
    if size.pixels > MAX_OUTPUT_PX or nbytes > MAX_OUTPUT_BYTES:
        return Sentence(
            N_(
                "The print would have {width}x{height} px ({mp:.0f} megapixels, {gib:.1f} GiB); "
                "wallprint makes up to {most_mp} megapixels and {most_gib} GiB."
            ),
            {
                "width": size.width,
                "height": size.height,
                "mp": size.pixels / 1e6,
                "gib": nbytes / 2**30,
                "most_mp": MAX_OUTPUT_PX // 10**6,
                "most_gib": MAX_OUTPUT_BYTES >> 30,
            },
        )
    for sheet in sheets:
        if max(sheet.width, sheet.height) > form.max_side_px:
            values = {
                "width": sheet.width,
                "height": sheet.height,
                "format": form.name,
                "most": form.max_side_px,
            }
            if len(sheets) > 1:
                panel = N_(
                    "A panel would be {width}x{height} px, but a {format} file holds at most "
                    "{most} px a side."
                )
                return Sentence(panel, values)
            whole = N_(
                "The print would be {width}x{height} px, but a {format} file holds at most "
                "{most} px a side."
            )
            return Sentence(whole, values)
    total = sum(file_bytes(form, sheet, layout) for sheet in sheets)
    if form.max_bytes and total > form.max_bytes:
        return Sentence(
            N_("The print may need {gb:.1f} GB, but a {format} file holds at most {most:.0f} GB."),
            {"gb": total / 1e9, "format": form.name, "most": form.max_bytes / 1e9},
        )
    if layout.model == "CMYKA" and form in (PNG, JPEG):
        return Sentence(N_("{format} cannot hold CMYK with transparency."), {"format": form.name})
    if layout.model == "CMYK" and form is PNG:
        return Sentence(N_("PNG cannot hold CMYK."))
    too_few_levels = form is JPEG or (form is not TIFF and layout.dtype in ("f16", "f32"))
    if layout.trc == "linear" and too_few_levels:
        return Sentence(N_("{format} has too few levels for linear light."), {"format": form.name})
    return None


def check_output(
    path: Path, size: Size, layout: PixelLayout, sheets: Sequence[Size] = ()
) -> Format:
    """The format, if it can hold the print; see `unfit`.

    Raises:
        BadInput: unknown ending, too many pixels, or pixels of a kind that the format cannot hold;
            names the cure.
    """
    form = format_of(path)
    reason = unfit(form, size, layout, sheets)
    if reason is None and form in NOT_WRITTEN:
        reason = Sentence(N_("wallprint writes no {format} files."), {"format": form.name})
    if reason:
        tiff_holds_it = not unfit(TIFF, size, layout, sheets)
        cure = f"Write a TIFF instead: -o {path.with_suffix('.tif').name}"
        raise BadInput(f"{reason} {cure if tiff_holds_it else 'Choose a smaller print or ppi.'}")
    return form

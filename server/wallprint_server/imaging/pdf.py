"""Panels as the pages of one PDF: lossless pixels at their size on paper, crop marks as lines.

Each panel is one image of 8 or 16 bits with the picture's own profile; alpha becomes a soft mask.
Written row by row, so memory does not grow with the picture. Knows nothing of temporary files.

References:
    ISO 32000-1:2008, 7.4.4 (Flate, predictors), 7.5 (file structure), 8.6.5.5 (ICCBased),
    8.9.5 (images), 11.6.5.3 (soft masks, Matte), 14.11.2 (page boundaries).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wallprint_protocol import __version__
from wallprint_protocol.panels import LABEL_MM, LINE_PT, Sheet
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import NM_PER_MM, Rect, length_to_px

from ..raster import Raster
from .metadata import RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, Metadata
from .tiff_tags import EXIF_IFD

_DEFLATE_LEVEL = 2
_BLOCK_BYTES = 4 << 20
_MAX_UNITS = 14_400  # a page's side; beyond, the unit itself is larger than a point
_SPACE = {1: "DeviceGray", 3: "DeviceRGB", 4: "DeviceCMYK"}
_LETTER_WIDTH = 0.56  # of Helvetica's height, on the wide side for digits and small letters


def encode_pdf(
    raster: Raster,
    layout: PixelLayout,
    sheets: Sequence[Sheet],
    path: Path,
    *,
    ppi_milli: int,
    metadata: Metadata,
    on_progress: Callable[[float], None],
) -> list[str]:
    """Write the file; returns what its metadata could not keep, one sentence each.

    Args:
        raster: the whole print.
        layout: of its pixels.
        sheets: the pages.
        path: of the file, which is overwritten.
        ppi_milli: thousandths of a ppi.
        metadata: of the print; profile and XMP are kept.
        on_progress: called with the fraction that is written, 0..1; may raise to stop.

    Raises:
        OSError: the file could not be written.
    """
    total = sum(sheet.rect.size.pixels for sheet in sheets) * (1 + layout.has_alpha)
    done = 0

    def count(pixels: int) -> None:
        nonlocal done
        done += pixels
        on_progress(done / total)

    with path.open("wb") as file:
        pdf = _Objects(file)
        profile = None
        if metadata.icc:
            profile = pdf.stream(f"/N {layout.colour_channels}", [metadata.icc], deflate=True)
        space = f"[/ICCBased {profile} 0 R]" if profile else f"/{_SPACE[layout.colour_channels]}"
        font = pdf.add("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
        pages = pdf.reserve()
        kids = []
        for sheet in sheets:
            image = _image(pdf, raster, layout, sheet.rect, space, count)
            page = _Page(sheet, ppi_milli, layout)
            content = pdf.stream("", [page.content()], deflate=True)
            kids.append(
                pdf.add(
                    f"<< /Type /Page /Parent {pages} 0 R {page.boxes()} "
                    f"/Resources << /XObject << /Picture {image} 0 R >> "
                    f"/Font << /Letters {font} 0 R >> >> /Contents {content} 0 R >>"
                )
            )
        listed = " ".join(f"{kid} 0 R" for kid in kids)
        pdf.add(f"<< /Type /Pages /Count {len(kids)} /Kids [{listed}] >>", pages)
        xmp = ""
        if metadata.xmp:
            number = pdf.stream("/Type /Metadata /Subtype /XML", [metadata.xmp])
            xmp = f" /Metadata {number} 0 R"
        root = pdf.add(f"<< /Type /Catalog /Pages {pages} 0 R{xmp} >>")
        info = pdf.add(f"<< /Producer (wallprint {__version__}) >>")
        pdf.finish(root, info)
    return _lost(metadata)


def page_count(path: Path) -> int:
    """Pages of a file that `encode_pdf` has written whole; 0 when its end or table is missing."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 64))
        tail = file.read().split()
        if len(tail) < 3 or tail[-1] != b"%%EOF" or not tail[-2].isdigit():
            return 0
        file.seek(int(tail[-2]))
        lines = iter(file.read().splitlines())
        if next(lines, b"") != b"xref":
            return 0
        next(lines)
        count = 0
        for line in lines:
            if not line.endswith(b" n "):
                continue
            file.seek(int(line[:10]))
            file.readline()  # its number
            count += file.readline().startswith(b"<< /Type /Page /Parent")
    return count


def _lost(metadata: Metadata) -> list[str]:
    usual = {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 274, EXIF_IFD}
    names = ["EXIF data"] if set(metadata.exif) - usual else []
    names += ["IPTC captions"] if metadata.iptc else []
    return [f"PDF has no place for {' and '.join(names)}; they were left out."] if names else []


class _Objects:
    """Numbered objects of a PDF file, written one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._offsets: list[int] = []
        file.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")

    def reserve(self) -> int:
        """A number for an object that comes later."""
        self._offsets.append(0)
        return len(self._offsets)

    def add(self, body: str, number: int = 0) -> int:
        """Write an object; its number."""
        number = self._begin(number)
        self._file.write(f"{body}\nendobj\n".encode("latin-1"))
        return number

    def stream(
        self, entries: str, parts: Sequence[bytes] | Iterator[bytes], *, deflate: bool = False
    ) -> int:
        """Write a stream object in parts; its number."""
        length = self.reserve()
        number = self._begin(0)
        filtered = "/Filter /FlateDecode " if deflate else ""
        head = f"<< {entries} {filtered}/Length {length} 0 R >>\nstream\n"
        self._file.write(head.encode("latin-1"))
        start = self._file.tell()
        packer = zlib.compressobj(_DEFLATE_LEVEL) if deflate else None
        for part in parts:
            self._file.write(packer.compress(part) if packer else part)
        if packer:
            self._file.write(packer.flush())
        nbytes = self._file.tell() - start
        self._file.write(b"\nendstream\nendobj\n")
        self.add(str(nbytes), length)
        return number

    def _begin(self, number: int) -> int:
        number = number or self.reserve()
        self._offsets[number - 1] = self._file.tell()
        self._file.write(f"{number} 0 obj\n".encode("latin-1"))
        return number

    def finish(self, root: int, info: int) -> None:
        """Cross-reference table and trailer."""
        at, count = self._file.tell(), len(self._offsets) + 1
        table = "".join(f"{offset:010d} 00000 n \n" for offset in self._offsets)
        self._file.write(
            f"xref\n0 {count}\n0000000000 65535 f \n{table}"
            f"trailer\n<< /Size {count} /Root {root} 0 R /Info {info} 0 R >>\n"
            f"startxref\n{at}\n%%EOF\n".encode("latin-1")
        )


def _image(
    pdf: _Objects,
    raster: Raster,
    layout: PixelLayout,
    rect: Rect,
    space: str,
    count: Callable[[int], None],
) -> int:
    """Write a panel's pixels, and its alpha as a soft mask; the number of the image."""
    colours = layout.colour_channels
    mask = ""
    if layout.has_alpha:
        matte = ""
        if layout.alpha == "premul":  # the colours are laid on black already
            inks = "0 0 0 0" if colours == 4 else " ".join(["0"] * colours)
            matte = f" /Matte [{inks}]"
        alpha = slice(colours, colours + 1)
        number = _samples(pdf, raster, layout, rect, alpha, f"/DeviceGray{matte}", count)
        mask = f" /SMask {number} 0 R"
    return _samples(pdf, raster, layout, rect, slice(0, colours), space + mask, count)


def _samples(
    pdf: _Objects,
    raster: Raster,
    layout: PixelLayout,
    rect: Rect,
    channels: slice,
    space: str,
    count: Callable[[int], None],
) -> int:
    bits = 8 if layout.dtype == "u8" else 16
    colours = channels.stop - channels.start
    predictor = f"/Predictor 15 /Colors {colours} /BitsPerComponent {bits} /Columns {rect.width}"
    return pdf.stream(
        f"/Type /XObject /Subtype /Image /Width {rect.width} /Height {rect.height} "
        f"/ColorSpace {space} /BitsPerComponent {bits} /DecodeParms << {predictor} >>",
        _rows(raster, layout, rect, channels, count),
        deflate=True,
    )


def _rows(
    raster: Raster,
    layout: PixelLayout,
    rect: Rect,
    channels: slice,
    count: Callable[[int], None],
) -> Iterator[bytes]:
    """Rows as differences from the row above (PNG's filter 2, "Up"), some at a time."""
    above: np.ndarray | None = None
    step = max(1, _BLOCK_BYTES // (rect.width * layout.bytes_per_pixel))
    dtype = {"u8": "<u1", "u16": "<u2", "f32": "<f4"}[layout.dtype]
    for y in range(rect.y, rect.y + rect.height, step):
        height = min(step, rect.y + rect.height - y)
        data = raster.read(Rect(rect.x, y, rect.width, height))
        pixels = np.frombuffer(data, dtype).reshape(height, rect.width, layout.channels)
        samples = pixels[:, :, channels]
        if layout.dtype == "f32":
            samples = np.rint(np.clip(np.nan_to_num(samples), 0.0, 1.0) * np.float32(65535))
        big = np.ascontiguousarray(samples, dtype=">u1" if layout.dtype == "u8" else ">u2")
        rows = big.reshape(height, -1).view(np.uint8)
        if above is None:
            above = np.zeros_like(rows[:1])
        previous = np.concatenate([above, rows[:-1]])
        above = rows[-1:].copy()
        filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)
        np.subtract(rows, previous, out=filtered[:, 1:])
        yield filtered.tobytes()
        count(rect.width * height)


class _Page:
    """A sheet in the units of its page."""

    def __init__(self, sheet: Sheet, ppi_milli: int, layout: PixelLayout) -> None:
        self._sheet, self._layout = sheet, layout
        points = 72_000 / ppi_milli
        longest = max(sheet.size.width, sheet.size.height) * points
        self._user_unit = max(1, -(-longest // _MAX_UNITS))
        self._per_px = points / self._user_unit
        self._letters_px = length_to_px(round(LABEL_MM * NM_PER_MM), ppi_milli)

    def _x(self, px: float) -> str:
        return f"{px * self._per_px:.5f}".rstrip("0").rstrip(".")

    def _y(self, px: float) -> str:
        """Up, from the bottom, of a distance from the top."""
        return self._x(self._sheet.size.height - px)

    def _box(self, name: str, x: int, y: int, width: int, height: int) -> str:
        corners = (self._x(x), self._y(y + height), self._x(x + width), self._y(y))
        return f"/{name} [{' '.join(corners)}] "

    def boxes(self) -> str:
        """The page's boundaries: paper, panel, and what is left of it after trimming."""
        sheet, margin = self._sheet, self._sheet.margin_px
        rect, trim = sheet.rect, sheet.trim
        boxes = self._box("MediaBox", 0, 0, sheet.size.width, sheet.size.height)
        boxes += self._box("BleedBox", margin, margin, rect.width, rect.height)
        if trim.width and trim.height:
            boxes += self._box("TrimBox", margin + trim.x, margin + trim.y, trim.width, trim.height)
        if self._user_unit > 1:
            boxes += f"/UserUnit {self._user_unit:.0f} "
        return boxes

    def content(self) -> bytes:
        """Picture, marks and label."""
        sheet, margin = self._sheet, self._sheet.margin_px
        rect = sheet.rect
        black = "0 0 0 1" if self._layout.colour_channels == 4 else "0"
        kind = "K" if self._layout.colour_channels == 4 else "G"
        parts = [
            f"q {self._x(rect.width)} 0 0 {self._x(rect.height)} {self._x(margin)} "
            f"{self._y(margin + rect.height)} cm /Picture Do Q",
            f"{black} {kind} {black} {kind.lower()} {LINE_PT / self._user_unit:.5f} w",
        ]
        long = margin - sheet.gap_px
        far_x, far_y = sheet.size.width - long, sheet.size.height - long
        if long > 0:
            for at in sheet.x_marks:
                x = self._x(margin + at)
                parts += [f"{x} {self._y(y)} m {x} {self._y(y + long)} l S" for y in (0, far_y)]
            for at in sheet.y_marks:
                y = self._y(margin + at)
                parts += [f"{self._x(x)} {y} m {self._x(x + long)} {y} l S" for x in (0, far_x)]
        place = sheet.label_rect(self._letters_px)
        if place is not None:
            for text in (sheet.label, sheet.short_label):
                if len(text) * _LETTER_WIDTH * place.height <= place.width:
                    base = place.y + 0.8 * place.height
                    parts.append(
                        f"BT /Letters {self._x(place.height)} Tf "
                        f"{self._x(place.x)} {self._y(base)} Td ({text}) Tj ET"
                    )
                    break
        return "\n".join(parts).encode("latin-1")

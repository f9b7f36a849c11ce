"""Raw pixels -> TIFF, PNG or JPEG, row by row; metadata is placed by us, byte for byte.

libvips compresses pixels only: it would rebuild EXIF (losing unknown tags), writes none into TIFF,
and decides by itself which profile suits a picture. So it is told to keep nothing, and the blocks
go where each format wants them. Knows nothing of disks and temporary files.

References:
    PNG Specification (Third Edition), 11.3; ITU-T T.81 and T.871 (JPEG, JFIF); ICC.1:2022 annex B;
    TIFF 6.0 with Adobe's supplements.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wallprint_protocol.file_formats import BIGTIFF_FROM_BYTES, JPEG, PNG, TIFF, Format
from wallprint_protocol.panels import Sheet
from wallprint_protocol.pixels import PixelLayout

from ..raster import Raster
from .marks import Paper
from .metadata import (
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Metadata,
    exif_block,
    iptc_resources,
)
from .tiff_tags import BYTE, EXIF_IFD, Directory, Entry, append_tags
from .vips import vips

Watch = Callable[[Any, Any], None]

JPEG_QUALITY = 95
# Level 2 takes a quarter of level 6's time on noisy 16-bit pictures, for 1 % more bytes.
_DEFLATE_LEVEL = 2
_PNG_LEVEL = 3
_SEGMENT_BYTES = 65_533  # a JPEG segment's content
_MAKER_NOTE = 37500
_PNG_START = 33  # signature and IHDR
_JPEG_START = 2  # SOI

_VIPS_FORMAT = {"u8": "uchar", "u16": "ushort", "f32": "float"}
_INTERPRETATION = {
    ("GRAY", "u8"): "b-w", ("GRAY", "u16"): "grey16", ("GRAY", "f32"): "b-w",
    ("RGB", "u8"): "srgb", ("RGB", "u16"): "rgb16", ("RGB", "f32"): "scrgb",
    ("CMYK", "u8"): "cmyk", ("CMYK", "u16"): "cmyk", ("CMYK", "f32"): "cmyk",
}  # fmt: skip


def encode(
    raster: Raster,
    layout: PixelLayout,
    form: Format,
    path: Path,
    *,
    sheet: Sheet,
    ppi_milli: int,
    metadata: Metadata,
    watch: Watch,
) -> list[str]:
    """Write the picture file; returns what its metadata could not keep, one sentence each.

    Args:
        raster: the pixels of the whole print.
        layout: of the pixels; a combination that `file_formats.check_output` lets through.
        form: of the file.
        path: of the file, which is overwritten.
        sheet: the part of the print that is written, with the paper around it.
        ppi_milli: thousandths of a ppi.
        metadata: already true of the file (`Metadata.for_print`).
        watch: called with (image, progress) about a hundred times; may kill the image.

    Raises:
        pyvips.error.Error: the encoder failed, or `watch` killed it.
        OSError: the metadata could not be written.
    """
    pixels = mmap.mmap(raster.fd, raster.nbytes, prot=mmap.PROT_READ)
    image = vips().Image.new_from_memory(
        pixels,
        raster.size.width,
        raster.size.height,
        layout.channels,
        _VIPS_FORMAT[layout.dtype],
    )
    if sheet.rect.size != raster.size:
        part = sheet.rect
        image = image.crop(part.x, part.y, part.width, part.height)
    if sheet.margin_px:
        image = _on_paper(image, Paper(sheet, layout, ppi_milli), layout)
    interpretation = _INTERPRETATION[layout.model.removesuffix("A"), layout.dtype]
    px_per_mm = ppi_milli / 25_400
    image = image.copy(interpretation=interpretation, xres=px_per_mm, yres=px_per_mm)
    image = _as_format_holds(image, layout, form)
    image.set_progress(True)

    def forget_and_watch(watched: Any, progress: Any) -> None:
        # Pages that are encoded leave this process's memory; they stay in the file.
        rows = sheet.rect.y + progress.npels // sheet.size.width - sheet.margin_px
        row_bytes = raster.size.width * layout.bytes_per_pixel
        done = rows * row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        if done > 0:
            pixels.madvise(mmap.MADV_DONTNEED, 0, min(done, raster.nbytes))
        watch(watched, progress)

    image.signal_connect("eval", forget_and_watch)
    if form is PNG:
        block, notes = _png_chunks(metadata)
        with _Inserting(path, _PNG_START, block) as target:
            image.pngsave_target(target.target, compression=_PNG_LEVEL, filter="up", keep="none")
        return notes
    if form is JPEG:
        block, notes = _jpeg_segments(metadata)
        if layout.colour_channels < 4:  # JFIF is grey or YCbCr; CMYK has Adobe's marker instead
            block = _jfif(ppi_milli) + block
        with _Inserting(path, _JPEG_START, block) as target:
            image.jpegsave_target(target.target, Q=JPEG_QUALITY, subsample_mode="off", keep="none")
        return notes
    raw_bytes = sheet.size.pixels * layout.bytes_per_pixel
    _save_tiff(image, layout, path, raw_bytes, metadata)
    return []


def _on_paper(image: Any, paper: Paper, layout: PixelLayout) -> Any:
    """A panel with the strips of paper around it."""

    def strip(samples: np.ndarray) -> Any:
        height, width, channels = samples.shape
        sample_format = _VIPS_FORMAT[layout.dtype]
        return vips().Image.new_from_memory(
            samples.tobytes(), width, height, channels, sample_format
        )

    middle = strip(paper.left).join(image, "horizontal").join(strip(paper.right), "horizontal")
    return strip(paper.above).join(middle, "vertical").join(strip(paper.below), "vertical")


def _as_format_holds(image: Any, layout: PixelLayout, form: Format) -> Any:
    """Samples and alpha as the format has them; see `file_formats.conversion_notes`."""
    full = {"u8": 255.0, "u16": 65535.0, "f32": 1.0}[layout.dtype]
    if form is TIFF:
        return image
    target = "uchar" if form is JPEG else "ushort"
    if form is PNG and layout.dtype != "f32" and layout.alpha != "premul":
        return image
    if form is JPEG and layout.dtype == "u8" and not layout.has_alpha:
        return image
    if layout.alpha == "premul":
        image = image.unpremultiply(max_alpha=full)
    if form is JPEG and layout.has_alpha:
        image = image.flatten(background=[full], max_alpha=full)
    if form is PNG and layout.dtype == "u8":
        target = "uchar"
    peak = 255.0 if target == "uchar" else 65535.0
    if full != peak:
        image = image.linear(peak / full, 0)
    interpretation = _INTERPRETATION[
        layout.model.removesuffix("A"), "u8" if target == "uchar" else "u16"
    ]
    return image.rint().cast(target).copy(interpretation=interpretation)


def _save_tiff(
    image: Any, layout: PixelLayout, path: Path, raw_bytes: int, metadata: Metadata
) -> None:
    image.tiffsave(
        str(path),
        compression="deflate",
        level=_DEFLATE_LEVEL,
        predictor="float" if layout.dtype == "f32" else "horizontal",
        bigtiff=raw_bytes > BIGTIFF_FROM_BYTES,
        resunit="inch",
        keep="none",
    )
    changes: Directory = dict(metadata.exif)
    if metadata.icc:
        changes[34675] = Entry.undefined(metadata.icc)
    if metadata.xmp:
        changes[700] = Entry(BYTE, len(metadata.xmp), metadata.xmp)
    if metadata.iptc:
        changes[33723] = Entry.undefined(metadata.iptc)
    if layout.has_alpha:
        changes[338] = Entry.short(1 if layout.alpha == "premul" else 2)
    with path.open("r+b") as file:
        append_tags(file.fileno(), changes)


def _png_chunks(metadata: Metadata) -> tuple[bytes, list[str]]:
    """iCCP, eXIf and iTXt (XMP), which stand between IHDR and the pixels; and notes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    chunks = b""
    if metadata.icc:
        chunks += chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc))
    if set(metadata.exif) - {X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 274, EXIF_IFD}:
        chunks += chunk(b"eXIf", exif_block(metadata.exif))
    if metadata.xmp:
        chunks += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp)
    # Whoever writes captions repeats them in XMP, as Dublin Core.
    lost = bool(metadata.iptc) and b"http://purl.org/dc/elements/" not in metadata.xmp
    return chunks, ["PNG has no place for IPTC captions; they were left out."] if lost else []


def _jpeg_segments(metadata: Metadata) -> tuple[bytes, list[str]]:
    """APP1 (EXIF, XMP), APP13 (IPTC), APP2 (profile) in the usual order; and notes."""
    segments, notes = b"", []
    exif = b"Exif\0\0" + exif_block(metadata.exif)
    details = metadata.exif[EXIF_IFD]
    if len(exif) > _SEGMENT_BYTES and isinstance(details, dict):
        lean = {tag: value for tag, value in details.items() if tag != _MAKER_NOTE}
        exif = b"Exif\0\0" + exif_block({**metadata.exif, EXIF_IFD: lean})
        notes.append("The camera's maker note is too long for JPEG and was left out.")
    blocks = [("EXIF data", 0xE1, exif)]
    if metadata.xmp:
        blocks.append(("XMP data", 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + metadata.xmp))
    if metadata.iptc:
        blocks.append(("IPTC captions", 0xED, iptc_resources(metadata.iptc)))
    for name, marker, data in blocks:
        if len(data) <= _SEGMENT_BYTES:
            segments += _segment(marker, data)
        else:
            notes.append(f"The {name} are too long for JPEG and were left out; TIFF keeps them.")
    room = _SEGMENT_BYTES - 14
    parts = [metadata.icc[i : i + room] for i in range(0, len(metadata.icc), room)]
    for i, part in enumerate(parts):
        segments += _segment(0xE2, b"ICC_PROFILE\0" + bytes([i + 1, len(parts)]) + part)
    return segments, notes


def _jfif(ppi_milli: int) -> bytes:
    """APP0 with the density in whole dots per inch; EXIF has it exactly."""
    dpi = (ppi_milli + 500) // 1000
    return _segment(0xE0, b"JFIF\0" + struct.pack(">BBBHHBB", 1, 2, 1, dpi, dpi, 0, 0))


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


class _Inserting:
    """A vips target that writes to a file and slips a block in at byte `at`, near its beginning."""

    def __init__(self, path: Path, at: int, block: bytes) -> None:
        self._file = path.open("wb")
        self._at, self._block = at, block
        self._error: OSError | None = None
        self.target = vips().TargetCustom()
        self.target.on_write(self._write)

    def _write(self, data: Any) -> int:
        """Called by libvips, through which no exception can pass."""
        chunk = bytes(data)
        start = self._file.tell()
        try:
            if start <= self._at < start + len(chunk):
                cut = self._at - start
                self._file.write(chunk[:cut] + self._block + chunk[cut:])
                self._at = -1
            else:
                self._file.write(chunk)
        except OSError as error:
            self._error = error
            return -1
        return len(chunk)

    def __enter__(self) -> _Inserting:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error
        if self._error is not None:
            raise self._error

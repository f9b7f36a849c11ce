"""A layer's pixels as a plain TIFF, for commands of the `wallprint` program that take files.

Written strip by strip, uncompressed, with whole samples: what an editor has in BGRA order is put
into RGBA order, half floats become floats; nothing else changes. Standard library only.

References:
    TIFF Revision 6.0, 1992; Aldus/AWARE BigTIFF design; ICC.1:2022, B.4 (tag 34675).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

from .job_run import Buffer
from .pixels import SAMPLE_BYTES, PixelLayout
from .print_size import Rect, Size

_ROWS_A_STRIP = 64
_BIG_FROM_BYTES = 4_000_000_000
_ICC_TAG = 34675
# TIFF field types and how `struct` writes them.
_SHORT, _LONG, _RATIONAL, _UNDEFINED, _LONG8 = 3, 4, 5, 7, 16
_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}
_PHOTOMETRIC = {"GRAY": 1, "RGB": 2, "CMYK": 5}
_WORD: dict[int, Literal["B", "H", "I"]] = {1: "B", 2: "H", 4: "I"}


class TiffFile:
    """One picture; a context manager.

    Args:
        path: of the file; replaced when it is there.
        size: of the picture, px.
        layout: of the strips that are written.
        ppi: resolution to note.
        icc: profile to note, b"" for none.
    """

    def __init__(
        self, path: Path, size: Size, layout: PixelLayout, *, ppi: float, icc: bytes = b""
    ) -> None:
        self._layout = layout
        sample = 4 if layout.dtype == "f16" else SAMPLE_BYTES[layout.dtype]
        self._row_bytes = size.width * layout.channels * sample
        head = _head(size, layout, sample, self._row_bytes, ppi, icc)
        self._first = len(head)
        self._file = path.open("wb")
        self._file.write(head)
        self._file.truncate(self._first + size.height * self._row_bytes)

    def write(self, rect: Rect, pixels: Buffer) -> None:
        """A full-width strip, of any height; one that is written again replaces itself."""
        self._file.seek(self._first + rect.y * self._row_bytes)
        self._file.write(_in_tiff_order(memoryview(pixels).cast("B"), self._layout))

    def close(self) -> None:
        """Whole when every row was written."""
        self._file.close()

    def __enter__(self) -> TiffFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _in_tiff_order(pixels: memoryview, layout: PixelLayout) -> Buffer:
    """Red before blue, floats of 32 bits."""
    if layout.dtype == "f16":
        count = len(pixels) // 2
        return struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", pixels))
    if layout.model != "BGRA":
        return pixels
    swapped = bytearray(pixels)
    word = _WORD[SAMPLE_BYTES[layout.dtype]]
    old, new = pixels.cast(word), memoryview(swapped).cast(word)
    new[0::4], new[2::4] = old[2::4], old[0::4]
    return swapped


def _head(
    size: Size, layout: PixelLayout, sample: int, row_bytes: int, ppi: float, icc: bytes
) -> bytes:
    """Everything before the pixels."""
    big = size.height * row_bytes >= _BIG_FROM_BYTES
    count = -(-size.height // _ROWS_A_STRIP)
    strips = [_ROWS_A_STRIP] * (count - 1) + [size.height - _ROWS_A_STRIP * (count - 1)]
    lengths = [rows * row_bytes for rows in strips]
    whole = _LONG8 if big else _LONG
    model = layout.model.removesuffix("A").replace("BGR", "RGB")
    channels, floats = layout.channels, layout.dtype in ("f16", "f32")
    resolution = struct.pack("<II", round(ppi * 1000), 1000)
    entries: list[tuple[int, int, list[int] | bytes]] = [
        (256, _LONG, [size.width]),
        (257, _LONG, [size.height]),
        (258, _SHORT, [8 * sample] * channels),
        (259, _SHORT, [1]),  # not compressed
        (262, _SHORT, [_PHOTOMETRIC[model]]),
        (273, whole, [0] * count),  # where the strips are; filled in below
        (277, _SHORT, [channels]),
        (278, _LONG, [_ROWS_A_STRIP]),
        (279, whole, lengths),
        (282, _RATIONAL, resolution),
        (283, _RATIONAL, resolution),
        (284, _SHORT, [1]),  # samples of a pixel side by side
        (296, _SHORT, [2]),  # inches
    ]
    if layout.has_alpha:
        entries.append((338, _SHORT, [1 if layout.alpha == "premul" else 2]))
    entries.append((339, _SHORT, [3 if floats else 1] * channels))
    if icc:
        entries.append((_ICC_TAG, _UNDEFINED, icc))
    first = len(_directory(entries, big))
    offsets = [first]
    for length in lengths[:-1]:
        offsets.append(offsets[-1] + length)
    entries[5] = (273, whole, offsets)
    return _directory(entries, big)


def _directory(entries: list[tuple[int, int, list[int] | bytes]], big: bool) -> bytes:
    """Header, directory, and the values that do not fit into it."""
    inline, number = (8, "Q") if big else (4, "I")
    header = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II*\0" + struct.pack("<I", 8)
    table = struct.pack("<Q" if big else "<H", len(entries))
    more = b""
    after = len(header) + len(table) + len(entries) * (20 if big else 12) + inline
    for tag, kind, value in entries:
        if isinstance(value, bytes):
            data, count = value, len(value) // 8 if kind == _RATIONAL else len(value)
        else:
            data, count = struct.pack(f"<{len(value)}{_CODES[kind]}", *value), len(value)
        if len(data) <= inline:
            field = data.ljust(inline, b"\0")
        else:
            field = struct.pack(f"<{number}", after + len(more))
            more += data + b"\0" * (-len(data) % 8)
        table += struct.pack(f"<HH{number}", tag, kind, count) + field
    return header + table + struct.pack(f"<{number}", 0) + more


def profile_of(data: bytes) -> bytes:
    """The profile in a small TIFF that another program wrote; b"" when there is none."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for index in range(count):
            tag, _kind, length, start = struct.unpack_from(
                f"{order}HHII", data, at + 2 + 12 * index
            )
            if tag == _ICC_TAG:
                return data[start : start + length]
    except struct.error:
        pass
    return b""

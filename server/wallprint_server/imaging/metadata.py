"""What travels with a picture besides its pixels: ICC profile, EXIF, XMP, IPTC captions.

Everything is kept; only what enlarging makes untrue is brought up to date (orientation, size,
resolution) and the embedded thumbnail, which shows the old picture, is dropped. Knows nothing of
pixels.

References:
    CIPA DC-008-2019 (Exif 2.32); ISO 16684-1 (XMP); IPTC-NAA IIM 4.2; Adobe, Photoshop File
    Formats (image resource blocks).
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from wallprint_protocol.print_size import Size

from .tiff_tags import EXIF_IFD, Directory, Entry, TagError, TagReader, pack_directory

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
_EXIF_VERSION, _PIXEL_X, _PIXEL_Y = 36864, 40962, 40963
_INCH = 2
_IPTC_RESOURCE = 0x0404
_MAX_PROFILE_BYTES = 16 << 20

# Tags of a TIFF picture's own directory that describe the photograph, not the file's structure.
_DESCRIPTIVE = frozenset(
    {270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095}
)
# Tags of an EXIF block's first directory that describe the file's structure (and the thumbnail's).
_STRUCTURAL = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 322, 323, 324, 325, 330, 338, 339,
     513, 514, 529, 530, 531, 532, 700, 33723, 34377, 34675}
)  # fmt: skip


@dataclass(frozen=True)
class Metadata:
    """What is known about a picture.

    Attributes:
        icc: profile bytes, never changed.
        exif: first directory of the EXIF block with its sub-directories; {} when there is none.
        xmp: packet as found.
        iptc: IIM records, without the wrapping that JPEG gives them.
    """

    icc: bytes = b""
    exif: Directory = field(default_factory=dict)
    xmp: bytes = b""
    iptc: bytes = b""

    def for_print(self, size: Size, ppi_milli: int) -> Metadata:
        """The same, true of the print: upright, `size` pixels at `ppi_milli` thousandths of a ppi.

        The result always has an EXIF directory with the resolution.
        """
        exif: Directory = {**self.exif, **resolution_tags(ppi_milli)}
        exif[ORIENTATION] = Entry.short(1)
        inner = exif.get(EXIF_IFD)
        details: Directory = dict(inner) if isinstance(inner, dict) else {}
        details.setdefault(_EXIF_VERSION, Entry.undefined(b"0232"))
        details[_PIXEL_X] = Entry.long(size.width)
        details[_PIXEL_Y] = Entry.long(size.height)
        exif[EXIF_IFD] = details
        return replace(self, exif=exif, xmp=_xmp_for_print(self.xmp, size, ppi_milli))


def resolution_tags(ppi_milli: int) -> Directory:
    """XResolution, YResolution and unit; a fraction, so every thousandth of a ppi is exact."""
    if ppi_milli % 1000 == 0:
        ppi = Entry.rational(ppi_milli // 1000, 1)
    else:
        ppi = Entry.rational(ppi_milli, 1000)
    return {X_RESOLUTION: ppi, Y_RESOLUTION: ppi, RESOLUTION_UNIT: Entry.short(_INCH)}


def exif_from_block(block: bytes) -> Directory:
    """Directory of an EXIF block, with or without its `Exif` prefix; thumbnail left behind.

    Raises:
        TagError: not an EXIF block.
    """
    block = block.removeprefix(b"Exif\0\0")
    reader = TagReader.from_bytes(block)
    found = reader.directory(reader.first)
    return {tag: value for tag, value in found.items() if tag not in _STRUCTURAL}


def exif_from_tiff(directory: Directory) -> Directory:
    """What a TIFF picture's own directory says about the photograph."""
    return {
        tag: value
        for tag, value in directory.items()
        if tag in _DESCRIPTIVE or isinstance(value, dict)
    }


def exif_block(exif: Directory) -> bytes:
    """The EXIF block (without prefix) of a directory."""
    return b"II*\0" + struct.pack("<I", 8) + pack_directory(exif, 8, big=False)


def png_profile(file: BinaryIO) -> bytes:
    """The profile of a PNG file as it stands there; b"" if none.

    libpng drops profiles that it thinks unsuitable (a length that is no multiple of 4, RGB in a
    grey picture), but they are the user's.
    """
    file.seek(8)
    while True:
        head = file.read(8)
        size, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"IDAT")
        if kind == b"IDAT" or size > _MAX_PROFILE_BYTES:
            return b""
        if kind != b"iCCP":
            file.seek(size + 4, os.SEEK_CUR)
            continue
        packed = file.read(size).partition(b"\0")[2][1:]  # name, 0, method 0, deflated profile
        try:
            return zlib.decompressobj().decompress(packed, _MAX_PROFILE_BYTES)
        except zlib.error:
            return b""


def iptc_from_resources(block: bytes) -> bytes:
    """IIM records out of Photoshop's image resources (a JPEG's APP13 segment); b"" if none."""
    block = block.removeprefix(b"Photoshop 3.0\0")
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 12 <= len(block):
        number, name_bytes = struct.unpack_from(">HB", block, at + 4)
        at += 6 + (name_bytes + 2) // 2 * 2  # the name's length byte and text, padded to even
        if at + 4 > len(block):
            break
        size = struct.unpack_from(">I", block, at)[0]
        if number == _IPTC_RESOURCE:
            return block[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return b""


def iptc_resources(iptc: bytes) -> bytes:
    """Inverse of `iptc_from_resources`: the content of an APP13 segment."""
    padded = iptc + b"\0" * (len(iptc) % 2)
    head = b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(iptc))
    return b"Photoshop 3.0\0" + head + padded


def _xmp_for_print(xmp: bytes, size: Size, ppi_milli: int) -> bytes:
    """Correct the properties that repeat EXIF: some programs believe them rather than EXIF.

    Both spellings of a simple RDF property, `tiff:Orientation="6"` and an element of that name.
    """
    ppi = f"{ppi_milli // 1000}/1" if ppi_milli % 1000 == 0 else f"{ppi_milli}/1000"
    values = {
        "tiff:Orientation": "1",
        "tiff:XResolution": ppi,
        "tiff:YResolution": ppi,
        "tiff:ResolutionUnit": str(_INCH),
        "tiff:ImageWidth": str(size.width),
        "tiff:ImageLength": str(size.height),
        "exif:PixelXDimension": str(size.width),
        "exif:PixelYDimension": str(size.height),
    }
    for name, value in values.items():
        tag = re.escape(name.encode())
        pattern = (
            rb"(\b" + tag + rb"\s*=\s*([\"']))[^\"'<]*(\2)|(<" + tag + rb">)[^<]*(</" + tag + rb">)"
        )

        def put(match: re.Match[bytes], new: bytes = value.encode()) -> bytes:
            if match[1] is not None:
                return match[1] + new + match[3]
            return match[4] + new + match[5]

        xmp = re.sub(pattern, put, xmp)
    return re.sub(rb"<xmp:Thumbnails\b.*?</xmp:Thumbnails>", b"", xmp, flags=re.DOTALL)


__all__ = [
    "Metadata",
    "TagError",
    "exif_block",
    "exif_from_block",
    "exif_from_tiff",
    "iptc_from_resources",
    "iptc_resources",
    "png_profile",
    "resolution_tags",
]

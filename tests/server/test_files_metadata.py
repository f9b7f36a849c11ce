"""Tag tables, profiles, XMP and captions: read what others write, survive what nobody should."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from wallprint_protocol.print_size import Size
from wallprint_server.imaging import icc
from wallprint_server.imaging.metadata import (
    Metadata,
    exif_block,
    exif_from_block,
    iptc_from_resources,
    iptc_resources,
    png_profile,
)
from wallprint_server.imaging.tiff_tags import (
    EXIF_IFD,
    GPS_IFD,
    Entry,
    TagError,
    TagReader,
    append_tags,
    pack_directory,
)
from wallprint_testing.picture_files import gamma_curve, icc_profile, tiff_bytes


def camera_block(order: str = "<") -> bytes:
    """An EXIF block by Pillow."""
    exif = Image.Exif()
    exif.endian = order
    exif[271], exif[282] = "Maker", IFDRational(300)
    exif.get_ifd(EXIF_IFD)[33434] = IFDRational(1, 250)
    exif.get_ifd(GPS_IFD)[2] = (IFDRational(52), IFDRational(30), IFDRational(25, 2))
    block = exif.tobytes()
    assert block[6:8] == {"<": b"II", ">": b"MM"}[order]
    return block


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_give_the_same_values(order: str) -> None:
    found = exif_from_block(camera_block(order))
    assert found[282].data == struct.pack("<II", 300, 1)
    assert found[271].data == b"Maker\0"
    assert found[EXIF_IFD][33434].data == struct.pack("<II", 1, 250)
    assert found[GPS_IFD][2].data == struct.pack("<6I", 52, 1, 30, 1, 25, 2)


@pytest.mark.parametrize("big", [False, True])
def test_packing_and_reading_are_inverse(big: bool) -> None:
    directory = {
        271: Entry(2, 6, b"Maker\0"),
        274: Entry.short(1),
        EXIF_IFD: {33434: Entry.rational(1, 250), 37500: Entry.undefined(bytes(range(255)))},
        GPS_IFD: {1: Entry(2, 2, b"N\0")},
    }
    packed = pack_directory(directory, 16, big=big)
    header = b"II" + (struct.pack("<HHHQ", 43, 8, 0, 16) if big else struct.pack("<HI", 42, 16))
    reader = TagReader.from_bytes(header.ljust(16, b"\0") + packed)
    assert reader.directory(reader.first) == directory


@settings(max_examples=300, deadline=None)
@given(
    position=st.integers(0, 400), values=st.binary(min_size=1, max_size=8), cut=st.integers(0, 500)
)
def test_damaged_exif_gives_tag_errors_only(position: int, values: bytes, cut: int) -> None:
    block = bytearray(camera_block())
    block[position : position + len(values)] = values
    try:
        found = exif_from_block(bytes(block[:cut]))
        exif_block(found)
    except TagError:
        pass


def test_a_table_that_contains_itself_ends() -> None:
    block = b"II*\0" + struct.pack("<IHHHIII", 8, 1, EXIF_IFD, 4, 1, 8, 0)
    found, depth = exif_from_block(block), 0
    while found:
        found, depth = found[EXIF_IFD], depth + 1
    assert depth == 2


def test_absurd_counts_are_not_allocated() -> None:
    block = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 271, 2, 0xFFFFFFFF, 8, 0)
    asked: list[int] = []

    def pread(size: int, offset: int) -> bytes:
        asked.append(size)
        return block[offset : offset + size]

    assert TagReader.open(pread).directory(8) == {}
    assert max(asked) < 100


@pytest.mark.parametrize("big", [False, True])
def test_appending_keeps_the_tags_that_stay(tmp_path: Path, big: bool) -> None:
    path = tmp_path / "a.tif"
    pixels = np.arange(4 * 3 * 3, dtype=np.uint16).reshape(4, 3, 3)
    path.write_bytes(tiff_bytes(pixels, 2, big=big))
    before = _directory(path)
    with path.open("r+b") as file:
        append_tags(file.fileno(), {305: Entry(2, 3, b"ab\0"), 262: Entry.short(2)})
    after = _directory(path)
    assert after.pop(305) == Entry(2, 3, b"ab\0")
    assert after == before
    assert before[258] == Entry.short(16, 16, 16)  # a value that does not fit into the entry


def _directory(path: Path) -> dict[int, Entry]:
    reader = TagReader.from_bytes(path.read_bytes())
    return reader.directory(reader.first)


def test_big_endian_files_are_not_extended(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_bytes(np.zeros((2, 2, 1), np.uint8), 1, order=">"))
    with path.open("r+b") as file, pytest.raises(TagError):
        append_tags(file.fileno(), {305: Entry.short(1)})


# -- profiles ----------------------------------------------------------------------------------


def parametric(kind: int, gamma: float, *more: float) -> bytes:
    values = [round(v * 65536) for v in (gamma, *more)]
    return b"para\0\0\0\0" + struct.pack(f">HH{len(values)}i", kind, 0, *values)


def table(*values: int) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(f">I{len(values)}H", len(values), *values)


@pytest.mark.parametrize(
    ("curve", "linear"),
    [
        (b"curv\0\0\0\0\0\0\0\0", True),
        (gamma_curve(1.0), True),
        (gamma_curve(1.8), False),
        (gamma_curve(2.2), False),
        (parametric(0, 1.0), True),
        (parametric(0, 2.4), False),
        (parametric(1, 1.0, 0.5, 0.1), False),
        (parametric(3, 2.4, 0.9479, 0.0521, 0.0774, 0.04045), False),
        (table(0, 16384, 32768, 49151, 65535), True),
        (table(0, 3000, 14000, 34000, 65535), False),
        (table(0, 1)[:-1], False),
        (b"curv", False),
    ],
)
@pytest.mark.parametrize(("space", "tag"), [(b"RGB ", b"gTRC"), (b"GRAY", b"kTRC")])
def test_linear_profiles(curve: bytes, linear: bool, space: bytes, tag: bytes) -> None:
    assert icc.is_linear(icc_profile(space, curve, tag)) is linear


def test_real_profiles_are_perceptual() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert icc.colour_space(profile) == "RGB"
    assert not icc.is_linear(profile)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 200), st.binary(max_size=12))
def test_damaged_profiles_are_not_linear_or_still_whole(position: int, junk: bytes) -> None:
    profile = bytearray(icc_profile(curve=gamma_curve(2.2)))
    profile[position : position + len(junk)] = junk
    assert icc.is_linear(bytes(profile[:position])) is False
    icc.is_linear(bytes(profile))


def test_profile_of_a_png_with_a_bomb_inside_is_left_alone() -> None:
    packed = b"name\0\0" + zlib.compress(bytes(100_000_000))
    chunk = struct.pack(">I", len(packed)) + b"iCCP" + packed + b"crc!"
    found = png_profile(io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk))
    assert len(found) <= 16 << 20
    assert png_profile(io.BytesIO(b"\x89PNG\r\n\x1a\n\0\0\0\x0aiCCPcut")) == b""


# -- what is said about the print ----------------------------------------------------------------


def test_resolution_and_size_are_brought_up_to_date_everywhere() -> None:
    xmp = b'<a tiff:XResolution="720000/10000" exif:PixelYDimension=\'7\' xtiff:Orientation="6"/>'
    found = Metadata(exif={274: Entry.short(6)}, xmp=xmp).for_print(Size(30, 20), 199_995)
    assert found.exif[274] == Entry.short(1)
    assert found.exif[282] == found.exif[283] == Entry.rational(199_995, 1000)
    assert found.exif[EXIF_IFD][40962] == Entry.long(30)
    assert b'tiff:XResolution="199995/1000"' in found.xmp
    assert b"exif:PixelYDimension='20'" in found.xmp
    assert b'xtiff:Orientation="6"' in found.xmp  # another name


def test_thumbnails_are_dropped() -> None:
    """The one in EXIF's second directory and the one in XMP show the old picture."""
    main = bytearray(pack_directory({271: Entry(2, 6, b"Maker\0")}, 8, big=False))
    # A second directory: JPEGInterchangeFormat and its length.
    rest = struct.pack("<HHHIIHHIII", 2, 513, 4, 1, 200, 514, 4, 1, 9, 0)
    struct.pack_into("<I", main, 14, 8 + len(main))
    block = b"II*\0\x08\0\0\0" + bytes(main) + rest
    assert TagReader.from_bytes(block).next_offset(8) == 8 + len(main)
    found = exif_block(exif_from_block(block))
    reader = TagReader.from_bytes(found)
    assert reader.next_offset(reader.first) == 0
    assert set(reader.directory(reader.first)) == {271}
    xmp = b"<a><xmp:Thumbnails><rdf:Alt>\nAAAA</rdf:Alt></xmp:Thumbnails><b/></a>"
    assert Metadata(xmp=xmp).for_print(Size(1, 1), 200_000).xmp == b"<a><b/></a>"


@given(st.binary(max_size=40))
def test_captions_are_found_among_other_resources(iptc: bytes) -> None:
    other = b"8BIM" + struct.pack(">HBxI", 0x03ED, 0, 3) + b"abc\0"
    named = b"8BIM" + struct.pack(">HB", 0x0BB7, 4) + b"name\0" + struct.pack(">I", 2) + b"xy"
    block = b"Photoshop 3.0\0" + other + named + iptc_resources(iptc)[14:]
    assert iptc_from_resources(block) == iptc
    assert iptc_from_resources(block[:20]) == b""

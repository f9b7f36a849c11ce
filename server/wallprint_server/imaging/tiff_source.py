"""What libvips does not tell about a TIFF file, read from its tags before it is decoded.

Refuses the kinds that would be decoded wrongly without a word: camera raw files (only their
thumbnail would be found), YCbCr and Lab samples, inks other than CMYK. Knows nothing of decoding.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from wallprint_protocol.errors import BadInput

from .tiff_tags import Directory, Entry, TagError, TagReader
from .vips import vips

_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 254, 258, 259, 262, 277
_INK_SET, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _DNG_VERSION = 332, 338, 339, 50706
_ASSOCIATED, _UNASSOCIATED = 1, 2
_JPEG_IN_TIFF = 7
# Colour channels of each photometric interpretation that is decoded rightly.
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 3, 5: 4, 6: 3}
_RAW_SUFFIXES = {".nef", ".nrw", ".arw", ".sr2", ".cr2", ".dng", ".orf", ".pef", ".rw2", ".3fr",
                 ".iiq", ".kdc", ".dcr", ".erf", ".mef", ".mos", ".srw"}  # fmt: skip


@dataclass(frozen=True)
class TiffFacts:
    """What the tags say.

    Attributes:
        alpha: "straight", "premul" or "none"; channels of unspecified meaning are no alpha.
        alpha_flag: where in the file the kind of alpha is written, or -1 if not premultiplied.
        alpha_flag_bytes: what must stand there for the decoder to leave the colours alone.
        pages_are_reduced: further pages are smaller copies of the first.
        directory: the first page's tags.
    """

    alpha: str
    alpha_flag: int
    alpha_flag_bytes: bytes
    pages_are_reduced: bool
    directory: Directory


def read_tiff_facts(path: Path) -> TiffFacts:
    """Read the tags of the first page.

    Raises:
        BadInput: the tags are damaged, or the samples are of a kind that cannot be used.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        reader = TagReader.from_fd(fd)
        directory = reader.directory(reader.first)
        raw = reader.raw(reader.first)
        following = _second_page(reader)
    except (TagError, OSError) as error:
        raise BadInput(
            f"{path.name} is damaged or cut short ({error}); copy it again from where it came from."
        ) from error
    finally:
        os.close(fd)
    _refuse_raw(path, directory)
    _refuse_samples(path, directory)
    alpha = _alpha(directory)
    flag, flag_bytes = -1, b""
    if alpha == "premul":
        # ExtraSamples is one short per extra channel; alpha is the first of them.
        flag = raw[_EXTRA_SAMPLES].data_offset
        flag_bytes = _UNASSOCIATED.to_bytes(2, "little" if reader.order == "<" else "big")
    reduced = bool(_first(following, _SUBFILE, 0) & 1)
    return TiffFacts(alpha, flag, flag_bytes, reduced, directory)


def premultiplied_source(file: BinaryIO, facts: TiffFacts) -> Any:
    """The open file as a vips source in which premultiplied alpha is marked straight.

    The library divides premultiplied colours by alpha while loading, which rounds 8-bit colours and
    loses light without cover (alpha 0); with the mark changed it hands them over as they are.
    """
    start, end = facts.alpha_flag, facts.alpha_flag + len(facts.alpha_flag_bytes)

    def read(size: int) -> bytes:
        at = file.tell()
        data = bytearray(file.read(size))
        for i in range(max(start, at), min(end, at + len(data))):
            data[i - at] = facts.alpha_flag_bytes[i - start]
        return bytes(data)

    source = vips().SourceCustom()
    source.on_read(read)
    source.on_seek(file.seek)
    return source


def _second_page(reader: TagReader) -> Directory:
    """Tags of the second page, {} when there is none."""
    offset = reader.next_offset(reader.first)
    if offset == 0:
        return {}
    try:
        return reader.directory(offset)
    except TagError:
        return {}


def _first(directory: Directory, tag: int, default: int) -> int:
    """First value of an integer tag."""
    entry = directory.get(tag)
    values = entry.integers() if isinstance(entry, Entry) else ()
    return values[0] if values else default


def _refuse_raw(path: Path, directory: Directory) -> None:
    if path.suffix.lower() in _RAW_SUFFIXES or _DNG_VERSION in directory:
        raise BadInput(
            f"{path.name} is a camera raw file; develop it first and export a 16-bit TIFF."
        )


def _refuse_samples(path: Path, directory: Directory) -> None:
    photometric = _first(directory, _PHOTOMETRIC, 1)
    unconverted = photometric == 6 and _first(directory, _COMPRESSION, 1) != _JPEG_IN_TIFF
    if photometric not in _COLOURS or unconverted:
        names = {4: "a mask", 6: "uncompressed YCbCr", 8: "Lab", 9: "Lab", 10: "Lab",
                 32803: "undeveloped sensor data", 34892: "undeveloped sensor data"}  # fmt: skip
        raise BadInput(
            f"{path.name} is {names.get(photometric, f'of colour kind {photometric}')}; "
            "convert it to RGB, grey or CMYK in your editor."
        )
    if photometric == 5 and _first(directory, _INK_SET, 1) != 1:
        raise BadInput(f"{path.name} has inks other than CMYK; convert it to CMYK in your editor.")
    bits = _first(directory, _BITS, 1)
    kind = _first(directory, _SAMPLE_FORMAT, 1)
    usable = (kind in (1, 4) and bits <= 16) or (kind == 3 and bits in (16, 32))
    if not usable:
        kinds = {1: "unsigned", 2: "signed", 3: "floating point"}
        raise BadInput(
            f"{path.name} has {bits}-bit {kinds.get(kind, 'complex')} samples; save it with 8 or "
            "16 bits or as 32-bit floating point."
        )


def _alpha(directory: Directory) -> str:
    """Kind of the first extra channel."""
    colours = _COLOURS[_first(directory, _PHOTOMETRIC, 1)]
    samples = _first(directory, _SAMPLES, 1)
    if _first(directory, _PHOTOMETRIC, 1) == 3:
        colours = 1
    if samples <= colours:
        return "none"
    kind = _first(directory, _EXTRA_SAMPLES, 0)
    return {_ASSOCIATED: "premul", _UNASSOCIATED: "straight"}.get(kind, "none")

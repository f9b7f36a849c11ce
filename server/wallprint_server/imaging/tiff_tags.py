"""TIFF directories (tag tables): read from a file or EXIF block, write, append to a finished file.

EXIF is a small TIFF file, so one reader serves both. Knows classic TIFF and BigTIFF in both byte
orders; knows nothing of pixels, and never reads more than a few hundred kilobytes.

References:
    TIFF Revision 6.0, Adobe 1992, section 2. BigTIFF: www.awaresystems.be/imaging/tiff/bigtiff.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
LONG8 = 16

# Bytes of one value of a type, and the length of the run that a byte swap reverses.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip
_SWAP_BYTES = {**_TYPE_BYTES, RATIONAL: 4, 10: 4}
_MAX_ENTRIES = 4096
_MAX_VALUE_BYTES = 1 << 20

EXIF_IFD, GPS_IFD, INTEROP_IFD = 34665, 34853, 40965
SUB_DIRECTORIES = (EXIF_IFD, GPS_IFD, INTEROP_IFD)


class TagError(ValueError):
    """A directory that contradicts itself or lies outside its file."""


@dataclass(frozen=True)
class Entry:
    """One tag's values.

    Attributes:
        type: TIFF field type.
        count: number of values.
        data: the values, always little-endian, `count` times the type's size.
    """

    type: int
    count: int
    data: bytes

    @classmethod
    def short(cls, *values: int) -> Entry:
        """Unsigned 16-bit values."""
        return cls(SHORT, len(values), struct.pack(f"<{len(values)}H", *values))

    @classmethod
    def long(cls, *values: int) -> Entry:
        """Unsigned 32-bit values."""
        return cls(LONG, len(values), struct.pack(f"<{len(values)}I", *values))

    @classmethod
    def rational(cls, numerator: int, denominator: int) -> Entry:
        """One unsigned fraction."""
        return cls(RATIONAL, 1, struct.pack("<II", numerator, denominator))

    @classmethod
    def undefined(cls, data: bytes) -> Entry:
        """Bytes without a type."""
        return cls(UNDEFINED, len(data), data)

    def integers(self) -> tuple[int, ...]:
        """Values of an unsigned integer type, else ()."""
        code = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(self.type)
        return struct.unpack(f"<{self.count}{code}", self.data) if code else ()


# A sub-directory (EXIF, GPS) stands where its pointer would be.
Directory = dict[int, Union[Entry, "Directory"]]


@dataclass(frozen=True)
class _Raw:
    """An entry as it lies in the file: where its inline field is, and where its values are."""

    type: int
    count: int
    field_offset: int
    data_offset: int
    nbytes: int


@dataclass(frozen=True)
class TagReader:
    """Random access to the directories of one TIFF file or EXIF block.

    Attributes:
        pread: (size, offset) -> at most `size` bytes.
        order: "<" or ">".
        big: BigTIFF.
        first: offset of the first directory.
    """

    pread: Callable[[int, int], bytes]
    order: str
    big: bool
    first: int

    @classmethod
    def open(cls, pread: Callable[[int, int], bytes]) -> TagReader:
        """Read the header.

        Raises:
            TagError: not a TIFF header.
        """
        head = pread(16, 0)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            raise TagError("no TIFF header")
        magic = struct.unpack(order + "H", head[2:4])[0]
        if magic == 42:
            return cls(pread, order, False, struct.unpack(order + "I", head[4:8])[0])
        if magic != 43 or len(head) < 16 or struct.unpack(order + "HH", head[4:8]) != (8, 0):
            raise TagError("no TIFF header")
        return cls(pread, order, True, struct.unpack(order + "Q", head[8:16])[0])

    @classmethod
    def from_bytes(cls, block: bytes) -> TagReader:
        """Reader of an EXIF block (without its `Exif` prefix)."""
        return cls.open(lambda size, offset: block[offset : offset + size])

    @classmethod
    def from_fd(cls, fd: int) -> TagReader:
        """Reader of an open file."""
        return cls.open(lambda size, offset: os.pread(fd, size, offset))

    def _exactly(self, size: int, offset: int) -> bytes:
        data = self.pread(size, offset) if 0 <= offset < 1 << 62 else b""
        if len(data) != size:
            raise TagError(f"the file ends inside a tag table (byte {offset})")
        return data

    def raw(self, offset: int) -> dict[int, _Raw]:
        """The entries of the directory at `offset`, values not yet read.

        Raises:
            TagError: outside the file, or absurd.
        """
        head, size, inline = (8, 20, 8) if self.big else (2, 12, 4)
        count = self._unsigned(head, offset)
        if not 1 <= count <= _MAX_ENTRIES:
            raise TagError(f"a tag table of {count} entries")
        table = self._exactly(count * size, offset + head)
        entries = {}
        for i in range(count):
            tag, kind, n = struct.unpack_from(
                self.order + ("HHQ" if self.big else "HHI"), table, i * size
            )
            if kind not in _TYPE_BYTES:
                continue  # readers are to skip types they do not know
            field = offset + head + i * size + size - inline
            nbytes = n * _TYPE_BYTES[kind]
            where = field
            if nbytes > inline:
                where = struct.unpack_from(
                    self.order + ("Q" if self.big else "I"), table, i * size + size - inline
                )[0]
            entries[tag] = _Raw(kind, n, field, where, nbytes)
        return entries

    def next_offset(self, offset: int) -> int:
        """Offset of the directory that follows the one at `offset`; 0 when it is the last."""
        head, size, inline = (8, 20, 8) if self.big else (2, 12, 4)
        count = self._unsigned(head, offset)
        return self._unsigned(inline, offset + head + size * count)

    def _unsigned(self, size: int, offset: int) -> int:
        code = {2: "H", 4: "I", 8: "Q"}[size]
        return int(struct.unpack(self.order + code, self._exactly(size, offset))[0])

    def entry(self, raw: _Raw) -> Entry:
        """Read the values of an entry.

        Raises:
            TagError: outside the file, or more than 1 MiB.
        """
        if raw.nbytes > _MAX_VALUE_BYTES:
            raise TagError(f"a tag of {raw.nbytes} bytes")
        data = self._exactly(raw.nbytes, raw.data_offset) if raw.nbytes else b""
        if self.order == ">":
            data = _swapped(data, _SWAP_BYTES[raw.type])
        return Entry(raw.type, raw.count, data)

    def directory(self, offset: int, *, depth: int = 0) -> Directory:
        """A directory with all values and its EXIF, GPS and interoperability directories.

        Entries that cannot be read are left out: one damaged tag must not cost the others.

        Raises:
            TagError: the directory itself cannot be read.
        """
        result: Directory = {}
        for tag, raw in self.raw(offset).items():
            try:
                entry = self.entry(raw)
                if tag in SUB_DIRECTORIES:
                    if depth < 2:
                        result[tag] = self.directory(entry.integers()[0], depth=depth + 1)
                else:
                    result[tag] = entry
            except (TagError, IndexError):
                continue
        return result


def _swapped(data: bytes, unit: int) -> bytes:
    """Reverse the bytes of every `unit`."""
    out = bytearray(len(data))
    for i in range(unit):
        out[i::unit] = data[unit - 1 - i :: unit]
    return bytes(out)


def pack_directory(directory: Directory, offset: int, *, big: bool) -> bytes:
    """The directory, its values and its sub-directories as they lie at `offset`, little-endian.

    The first byte is the directory's own; no directory follows it.
    """
    head, size, inline = (8, 20, 8) if big else (2, 12, 4)
    table_bytes = head + size * len(directory) + inline
    table = bytearray(struct.pack("<Q" if big else "<H", len(directory)))
    tail = bytearray()
    for tag in sorted(directory):
        value = directory[tag]
        if isinstance(value, Entry):
            kind, count, data = value.type, value.count, value.data
        else:
            where = offset + table_bytes + len(tail)
            tail += pack_directory(value, where, big=big)
            tail += b"\0" * (len(tail) % 2)
            kind, count = (LONG8, 1) if big else (LONG, 1)  # Pillow does not follow type IFD8
            data = struct.pack("<Q" if big else "<I", where)
        if len(data) > inline:
            where = offset + table_bytes + len(tail)
            tail += data + b"\0" * (len(data) % 2)  # values begin on a word boundary
            data = struct.pack("<Q" if big else "<I", where)
        table += struct.pack("<HHQ" if big else "<HHI", tag, kind, count) + data.ljust(
            inline, b"\0"
        )
    return bytes(table + b"\0" * inline + tail)


def append_tags(fd: int, changes: Directory) -> None:
    """Replace or add tags of the first directory of a little-endian TIFF file, in place.

    A new directory goes to the end of the file; entries that stay are copied as they are, so their
    values (strip offsets of any length) need not move. The header is switched last.

    Raises:
        TagError: not a little-endian TIFF file, or a classic one that would pass 4 GiB.
        OSError: disk full.
    """
    reader = TagReader.from_fd(fd)
    if reader.order != "<":
        raise TagError("only little-endian files can be extended")
    inline, size = (8, 20) if reader.big else (4, 12)
    kept = {tag: raw for tag, raw in reader.raw(reader.first).items() if tag not in changes}
    end = os.fstat(fd).st_size
    end += end % 2
    # The new directory is packed with placeholders for what stays, then those fields are copied.
    placeholders: Directory = {tag: Entry.short(0) for tag in kept}
    packed = bytearray(pack_directory({**placeholders, **changes}, end, big=reader.big))
    if not reader.big and end + len(packed) > 0xFFFF_FFFF:
        raise TagError("a TIFF file over 4 GiB needs BigTIFF")
    head = 8 if reader.big else 2
    for i, tag in enumerate(sorted({**placeholders, **changes})):
        if tag in kept:
            raw = kept[tag]
            start = raw.field_offset - (size - inline)
            packed[head + i * size : head + (i + 1) * size] = os.pread(fd, size, start)
    pwrite_all(fd, bytes(packed), end)
    where = struct.pack("<Q" if reader.big else "<I", end)
    pwrite_all(fd, where, 8 if reader.big else 4)


def pwrite_all(fd: int, data: bytes, offset: int) -> None:
    """`os.pwrite` until everything is written."""
    view = memoryview(data)
    while len(view):
        put = os.pwrite(fd, view, offset)
        view, offset = view[put:], offset + put

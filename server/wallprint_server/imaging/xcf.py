"""What GIMP's plug-in keeps in a GIMP document: the passports of its prints. Reads no pixels.

References:
    "Documentation of the XCF file format", GIMP developers, devel-docs/specs/xcf.txt.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wallprint_protocol.passport import Passport

MAGIC = b"gimp xcf "
_PARASITE = "wallprint"
_PROP_END, _PROP_PARASITES = 0, 21
_PRECISION_SINCE, _WIDE_POINTERS_SINCE = 4, 11
_MOST_LAYERS, _MOST_BYTES = 10_000, 16 << 20  # of a document, and of one property


def passports_of(path: Path) -> list[Passport]:
    """The passports of a document's layers, from the top of the layer stack.

    Raises:
        ValueError: the document is damaged, or a passport in it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            return [Passport.from_map(json.loads(data)) for data in _parasites(file)]
        except (struct.error, UnicodeDecodeError, OverflowError) as error:
            raise ValueError(f"it is no whole GIMP document ({error})") from None


def _parasites(file: BinaryIO) -> Iterator[bytes]:
    """Data of our parasites, layer by layer."""
    head = file.read(14)
    if not head.startswith(MAGIC):
        raise ValueError("it is no GIMP document")
    version = 0 if head[9:13] == b"file" else int(head[10:13])
    file.seek(12 + 4 * (version >= _PRECISION_SINCE), 1)  # size, kind, precision
    for _ in _properties(file):
        pass
    pointer = ">Q" if version >= _WIDE_POINTERS_SINCE else ">I"
    layers: list[int] = []
    while len(layers) < _MOST_LAYERS and (at := _number(file, pointer)):
        layers.append(at)
    for at in layers:
        file.seek(at + 12)  # size and kind
        file.seek(_number(file), 1)  # name
        for kind, data in _properties(file):
            if kind == _PROP_PARASITES:
                yield from (content for name, content in _listed(data) if name == _PARASITE)


def _properties(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    while True:
        kind, length = _number(file), _number(file)
        if kind == _PROP_END:
            return
        if length > _MOST_BYTES:
            raise ValueError(f"it is no whole GIMP document (a property of {length} bytes)")
        yield kind, file.read(length)


def _listed(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each parasite in a property."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 4 + length].rstrip(b"\0").decode("utf-8")
        (size,) = struct.unpack_from(">I", data, at + 8 + length)  # after the flags
        start = at + 12 + length
        yield name, data[start : start + size]
        at = start + size


def _number(file: BinaryIO, form: str = ">I") -> int:
    (value,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return int(value)

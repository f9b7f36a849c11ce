"""Passports in GIMP documents, in the file format's older and newer forms."""

from __future__ import annotations

import html
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from wallprint_protocol.passport import XMP_NAMESPACE, Passport
from wallprint_protocol.passport_in_file import sharpening_of_file
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request
from wallprint_server.imaging import xcf
from wallprint_server.imaging.xmp import passport_of


def passport(number: int) -> Passport:
    request = Request.build(
        Size(10, 8), PixelLayout("RGB", "u8"), place(Size(10, 8), Size(20 + number, 16), "crop")
    )
    how = {"stage": "sharpen", "medium": "canvas", "halo_px": 4.0}
    return Passport(request, f"{number:064x}", "pixels", "f" * 64, {"stages": [how]})


def document(layers: list[dict[str, bytes]], version: bytes = b"v011") -> bytes:
    """A GIMP document without pixels; each layer has parasites by name."""
    wide = version not in (b"file", b"v003")
    pointer = ">Q" if wide else ">I"
    prop = struct.pack(">III", 17, 4, 1) + struct.pack(">II", 0, 0)  # compression, end
    head = b"gimp xcf " + version + b"\0" + struct.pack(">III", 20, 16, 0)
    head += struct.pack(">I", 150) * wide + prop
    size = struct.calcsize(pointer)
    at = len(head) + size * (len(layers) + 2)
    pointers, body = b"", b""
    for parasites in layers:
        pointers += struct.pack(pointer, at + len(body))
        name = "Schöne Ebene".encode() + b"\0"
        body += struct.pack(">IIII", 20, 16, 0, len(name)) + name
        body += struct.pack(">III", 6, 4, 255)  # opacity
        data = b"".join(
            struct.pack(">I", len(key) + 1) + key.encode() + b"\0"
            + struct.pack(">II", 3, len(value)) + value
            for key, value in parasites.items()
        )  # fmt: skip
        body += struct.pack(">II", 21, len(data)) + data if data else b""
        body += struct.pack(">II", 0, 0)
    return head + pointers + struct.pack(pointer, 0) + struct.pack(pointer, 0) + body


@pytest.mark.parametrize("version", [b"file", b"v003", b"v011", b"v022"])
def test_passports_of_all_layers_from_the_top(tmp_path: Path, version: bytes) -> None:
    texts = [passport(n).to_json().encode() for n in (1, 2)]
    layers: list[dict[str, bytes]] = [
        {"gimp-comment": b"hello", "wallprint": texts[0]},
        {},
        {"wallprint": texts[1]},
    ]
    path = tmp_path / "print.xcf"
    path.write_bytes(document(layers, version))
    assert [found.to_json().encode() for found in xcf.passports_of(path)] == texts


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.99])
def test_a_cut_document_is_refused(tmp_path: Path, keep: float) -> None:
    whole = document([{"wallprint": passport(1).to_json().encode()}])
    path = tmp_path / "cut.xcf"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(ValueError, match=r"GIMP document|Unterminated|Expecting|control"):
        xcf.passports_of(path)


def test_other_files_and_damaged_passports_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.xcf"
    path.write_bytes(b"PNG" * 100)
    with pytest.raises(ValueError, match="no GIMP document"):
        xcf.passports_of(path)
    path.write_bytes(document([{"wallprint": b'{"passport": 1}'}]))
    with pytest.raises(ValueError, match="missing"):
        xcf.passports_of(path)


def exiv2_packet(value: dict[str, Any]) -> str:
    """As Exiv2 writes a property that it does not know: an attribute, a slash in the namespace."""
    text = html.escape(json.dumps(value, ensure_ascii=False))
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:wallprint="{XMP_NAMESPACE}/" wallprint:Passport="{text}"/></rdf:RDF></x:xmpmeta>'
    )


def test_passport_that_gimp_has_exported_is_found(tmp_path: Path) -> None:
    kept = passport(3)
    packet = exiv2_packet(kept.to_map()).encode()
    found = passport_of(packet)
    assert found is not None
    assert found.to_map() == kept.to_map()
    path = tmp_path / "print.png"
    path.write_bytes(b"\x89PNG" + b"\0" * 5_000_000 + packet + b"\0" * 100)
    assert sharpening_of_file(str(path)) == {"medium": "canvas", "halo_px": 4.0}

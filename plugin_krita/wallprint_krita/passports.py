"""How the prints of a document were made: one annotation of it, with a passport for each layer.

An annotation is saved in the .kra file, where `wallprint reproduce` finds it. Krita tells neither
plug-ins of XMP nor exports of annotations, so only the document carries the passport; of a picture
that came in as a file of `wallprint enhance`, the file itself is looked at.
"""

from __future__ import annotations

import html
import json
import os
from functools import lru_cache

from wallprint_protocol.passport import Passport

from .qt import QByteArray

ANNOTATION = "wallprint"
_DESCRIPTION = "How the prints in this document were made"
_NAMESPACE = b"urn:x-wallprint:passport:1:"
_OPENED, _CLOSED = b"<wallprint:Passport>", b"</wallprint:Passport>"
_LOOKED_AT_BYTES = 4 << 20  # of either end of a file: metadata stands before or after the pixels


def keep(document, node, passport: Passport) -> None:
    """Keep a passport with the document, for this layer of it.

    Those of layers that are gone stay: undo may bring the layers back.
    """
    layers = {**_layers(document), _id(node): passport.to_map()}
    text = json.dumps({"layers": layers}, ensure_ascii=False, separators=(",", ":"))
    document.setAnnotation(ANNOTATION, _DESCRIPTION, QByteArray(text.encode()))


def passport_of(document, node) -> Passport | None:
    """The passport of a layer; None when it is no print, or nothing that can be read."""
    try:
        return Passport.from_map(_layers(document)[_id(node)])
    except (KeyError, ValueError):
        return None


def sharpening_of(document, nodes) -> dict | None:
    """How these layers were sharpened for paper by an earlier print; None when they were not."""
    for node in nodes:
        passport = passport_of(document, node)
        if passport is not None:
            if passport.output_sharpening:
                return passport.output_sharpening
            continue
        below = sharpening_of(document, node.childNodes())
        if below:
            return below
    return None


def sharpening_of_file(path: str) -> dict | None:
    """How a picture file was sharpened for paper; None when it is no print of ours."""
    try:
        return _read_sharpening(path, os.stat(path).st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=8)
def _read_sharpening(path: str, _changed_ns: int) -> dict | None:
    """The dialog asks again and again; the file is read once."""
    try:
        with open(path, "rb") as file:
            parts = [file.read(_LOOKED_AT_BYTES)]
            size = file.seek(0, os.SEEK_END)
            file.seek(max(len(parts[0]), size - _LOOKED_AT_BYTES))
            parts.append(file.read())
    except OSError:
        return None
    for part in parts:
        begin = part.find(_OPENED, max(0, part.find(_NAMESPACE)))
        end = part.find(_CLOSED, begin)
        if _NAMESPACE in part and 0 <= begin < end:
            text = html.unescape(part[begin + len(_OPENED) : end].decode("utf-8", "replace"))
            try:
                return Passport.from_map(json.loads(text)).output_sharpening
            except ValueError:
                return None
    return None


def _layers(document) -> dict:
    """Passports by layer, as they stand in the annotation; {} without it."""
    try:
        layers = json.loads(bytes(document.annotation(ANNOTATION)))["layers"]
    except (ValueError, KeyError, TypeError):
        return {}
    return layers if isinstance(layers, dict) else {}


def _id(node) -> str:
    return node.uniqueId().toString()

"""How the prints of a document were made: one annotation of it, with a passport for each layer.

An annotation is saved in the .kra file, where `wallprint reproduce` finds it. Krita tells neither
plug-ins of XMP nor exports of annotations, so only the document carries the passport.
"""

from __future__ import annotations

import json

from wallprint_protocol.passport import Passport

from .qt import QByteArray

ANNOTATION = "wallprint"
_DESCRIPTION = "How the prints in this document were made"


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


def _layers(document) -> dict:
    """Passports by layer, as they stand in the annotation; {} without it."""
    try:
        layers = json.loads(bytes(document.annotation(ANNOTATION)))["layers"]
    except (ValueError, KeyError, TypeError):
        return {}
    return layers if isinstance(layers, dict) else {}


def _id(node) -> str:
    return node.uniqueId().toString()

"""Cases that run inside the real Krita: what a print carries and what is made beside it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import replace

sys.path.insert(0, os.environ["WALLPRINT_TEST_HERE"])

from krita import InfoObject, Selection
from krita_support import (
    BASE,
    SETTINGS,
    SRGB,
    active,
    found,
    krita,
    make,
    read_sheet,
    run_cases,
    run_job,
)


def passports_in(document):
    return json.loads(bytes(document.annotation("wallprint")))["layers"]


def case_passport():
    """It is in the document, of these very bytes, also after the document was saved and opened."""
    document, node, data, _layout, _rect = make("rgba_u16")
    selection = Selection()
    selection.select(12, 8, 20, 16, 255)
    document.setSelection(selection)
    yield active(document, node)
    settings = replace(SETTINGS, source="selection", feather_mm=0.0)
    yield from run_job(settings)
    new = found(document, "Photo for print")
    ((name, passport),) = passports_in(document).items()
    assert name == new.uniqueId().toString()
    made_from, made = passport["source"], passport["print"]
    assert made_from["sha256"] == hashlib.sha256(data).hexdigest()
    assert (made_from["of"], made_from["layout"]["model"]) == ("pixels", "BGRA")
    mask = b"".join(
        bytes(255 if 12 <= x < 32 and 8 <= y < 24 else 0 for x in range(48)) for y in range(36)
    )
    assert passport["selection"]["sha256"] == hashlib.sha256(mask).hexdigest()
    pixels = read_sheet(document, new)
    assert made["pixels_sha256"] == hashlib.sha256(pixels).hexdigest()
    assert (made["width"], made["height"], made["icc"]) == (96, 72, SRGB)
    stages = {stage["stage"]: stage for stage in passport["stages"]}
    assert len(stages["enlarge"]["sha256"]) == 64, stages
    assert passport["output_sharpening"]["medium"] == "matte"
    assert passport["digital_source_type"].endswith("/algorithmicallyEnhanced")
    yield active(document, new)
    document.setSelection(None)
    yield from run_job(replace(SETTINGS, medium="none"))
    again = passports_in(document)
    assert len(again) == 2, "the second print's passport is missing, or the first is lost"
    newest = again[found(document, "Photo for print for print").uniqueId().toString()]
    assert newest["output_sharpening"]["medium"] == "matte", "sharpened by the first print"
    path = str(BASE / "passports.kra")
    document.setBatchmode(True)
    assert document.saveAs(path)
    document.close()
    yield 0.3
    opened = krita.openDocument(path)
    assert passports_in(opened) == again
    layers = {layer.uniqueId().toString() for layer in opened.rootNode().childNodes()}
    assert set(again) <= layers, "the layers are no longer those of the passports"
    opened.close()


def case_reproducible():
    """What `wallprint reproduce` takes, for the test outside to try."""
    document, node, data, _layout, rect = make("rgba_u8")
    yield active(document, node)
    node.setPixelData(b"".join(data[i : i + 3] + b"\xff" for i in range(0, len(data), 4)),
                      rect.x, rect.y, rect.width, rect.height)  # fmt: skip
    document.setBatchmode(True)
    document.refreshProjection()
    document.waitForDone()
    assert document.exportImage(str(BASE / "layer.png"), InfoObject())
    yield from run_job(SETTINGS)
    document.setBatchmode(True)
    assert document.saveAs(str(BASE / "print.kra"))


run_cases(extension, globals())  # noqa: F821 - given by the plug-in

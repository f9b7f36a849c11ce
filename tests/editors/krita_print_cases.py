"""Cases that run inside the real Krita: what a print carries and what is made beside it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, os.environ["WALLPRINT_TEST_HERE"])

from krita import InfoObject, Selection
from krita_dialog_parts import check_page, opened
from krita_drive import drive
from krita_support import (
    BASE,
    KINDS,
    SETTINGS,
    SHOTS,
    SRGB,
    Watch,
    active,
    close_messages,
    ended_well,
    found,
    idle,
    krita,
    make,
    read_sheet,
    run_cases,
    run_job,
    snapshot,
    state,
)
from wallprint_krita.pixels import Space, space_of
from wallprint_krita.profile import profile_bytes

from wallprint_protocol.print_size import Size
from wallprint_protocol.tiff_file import profile_of

try:
    from PyQt6.QtWidgets import QPushButton
except ImportError:
    from PyQt5.QtWidgets import QPushButton


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


# -- by commands of the program ------------------------------------------------

PICTURE = Size(320, 240)


def picture():
    """The photograph as 16 bit, large enough for crops."""
    document, node, data, _layout, _rect = make("rgba_u16", canvas=PICTURE)
    yield active(document, node)
    return document, node, data


def tiff(path):
    """Of a sheet in TIFF: size, profile, and a reader of its rows as our TIFF writer lays them."""
    data = Path(path).read_bytes()
    assert data[:4] == b"II*\0", "a small little-endian TIFF"
    return data, profile_of(data)


def case_profiles():
    """Of every space that can be printed, and each its own."""
    found_profiles = {}
    for kind in KINDS:
        document, node, _data, _layout, _rect = make(kind)
        yield active(document, node)
        found_profiles[kind] = profile_bytes(space_of(node))
        assert found_profiles[kind][36:40] == b"acsp", f"{kind}: no ICC profile"
        assert not close_messages()
    assert found_profiles["rgba_u8"] == found_profiles["rgba_u16"]
    assert found_profiles["rgba_u8"] != found_profiles["rgba_f32"], "linear is another one"
    assert len(set(found_profiles.values())) >= 4


def case_proof():
    """PDF and TIFF of Letter size, with the profile; the progress counts crops; nothing is left."""
    document, _node, _data = yield from picture()
    before = snapshot(document)
    files = [BASE / "sheet.pdf", BASE / "sheet.tif"]
    settings = replace(SETTINGS, preset="24x18cm")
    texts = []
    progress = state.extension._progress

    def noting(news):
        progress(news)
        texts.append(state.extension.window.labelText())

    state.extension._progress = noting
    temporary = set(Path("/tmp").glob("wallprint-*"))
    state.extension.proof(settings, files, "letter", False)
    yield 0.1  # Krita has exported the picture of one pixel, for its profile
    drive.driver.longest_gap_s = 0.0
    yield idle
    del state.extension._progress
    ended_well()
    gap = drive.driver.longest_gap_s
    assert files[0].read_bytes()[:5] == b"%PDF-"
    data, profile = tiff(files[1])
    assert len(data) > 100_000
    assert len(profile) > 500, "no profile in the sheet"
    assert profile == profile_bytes(Space("RGBA", "U16", SRGB))
    assert any(re.search(r"Computing crop 2 of [2-4]", text) for text in texts), texts
    assert "sheet.pdf" in state.extension.last_message, state.extension.last_message
    assert state.extension.message.isVisible()
    state.extension.message.close()
    assert set(Path("/tmp").glob("wallprint-*")) == temporary, "a copy of the picture is left"
    assert snapshot(document) == before
    assert gap < 0.25, f"Krita's event loop was away for {gap:.2f} s"
    return {"longest_gap_s": round(gap, 3)}


def case_proof_cancelled():
    """The program ends, the server drops the job, no sheet and no picture is left."""
    _document, _node, _data = yield from picture()
    settings = replace(SETTINGS, preset="60x45cm")
    temporary = set(Path("/tmp").glob("wallprint-*"))
    state.extension.proof(settings, [BASE / "none.pdf"], "a4", True)
    window = state.extension.window
    yield lambda: "crop" in window.labelText()
    window.findChildren(QPushButton)[0].click()
    began = time.monotonic()
    yield idle
    assert type(state.extension.last_error).__name__ == "Cancelled", state.extension.last_error
    assert time.monotonic() - began < 3.0
    watch = Watch()
    yield lambda: watch.idle_after_s is not None
    assert watch.idle_after_s < 2.0
    assert not (BASE / "none.pdf").exists()
    assert set(Path("/tmp").glob("wallprint-*")) == temporary
    assert not close_messages()


def case_proof_dialog():
    """From the menu; the file stands beside the document, and goes where it says."""
    document, _node, _data = yield from picture()
    document.setBatchmode(True)
    assert document.saveAs(str(BASE / "my picture.kra"))
    yield 0.3
    krita.action("wallprint_proof").trigger()
    yield lambda: state.extension.dialog is not None and state.extension.dialog.isVisible()
    dialog = state.extension.dialog
    yield 0.3
    assert dialog._file.text() == str(BASE / "my_picture_proof.pdf"), dialog._file.text()
    assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
    check_page(dialog)
    dialog.grab().save(str(SHOTS / "krita-proof-dialog.png"))
    dialog._format.setCurrentIndex(dialog._format.findData(".tif"))
    assert dialog._file.text().endswith("_proof.tif")
    dialog._file.setText(str(BASE / "sheet.jpg"))
    assert "must end in .tif" in dialog.refusal_line.text()
    assert not dialog.ok_button.isEnabled()
    document.setXRes(144.0)
    document.waitForDone()
    dialog._file.setText(str(BASE / "sheet2.tif"))
    yield lambda: "square pixels" in dialog.refusal_line.text()
    dialog.reject()


def case_crops_of_the_proof_are_the_prints():
    """Bit for bit what the layer then has."""
    document, node, _data = yield from picture()
    settings = replace(SETTINGS, preset="24x18cm")
    path = BASE / "crops.tif"
    state.extension.proof(settings, [path], "a4", False)
    yield idle
    ended_well()
    state.extension.message.close()
    yield active(document, node)
    yield from run_job(settings)
    state.extension.message.close()
    pixels = read_sheet(document, found(document, "Photo for print"))
    (BASE / "crops.raw").write_bytes(pixels)
    return {"width": document.width(), "height": document.height()}


def case_report_and_files():
    """What can be made of a finished print: the page, and panels with marks."""
    document, _node, _data = yield from picture()
    pages = []
    module = sys.modules["wallprint_krita.extension"]
    opened, module._open = module._open, pages.append
    try:
        settings = replace(SETTINGS, preset="15x11.25cm", panel_columns=2, crop_marks=True)
        yield from run_job(settings)
        message = state.extension.message
        assert [b.text().replace("&", "") for b in message.buttons] == [
            "Show Report", "Save for Printing…",
        ]  # fmt: skip
        message.grab().save(str(SHOTS / "krita-end.png"))
        made = message_print()
        message.close()
        state.extension.report(made, BASE / "page.html")
        yield idle
        ended_well()
        assert pages == [str(BASE / "page.html")], "the browser was not asked to show it"
        text = (BASE / "page.html").read_text("utf-8")
        assert "Photo for print: how this print was made" in text
        assert text.count("data:image/jpeg;base64,") >= 5
        state.extension.save(made, BASE / "wall.tif")
        yield idle
        ended_well()
        names = [f"wall_r1c{column}.tif" for column in (1, 2)]
        assert all((BASE / name).stat().st_size > 100_000 for name in names)
        assert "2 files are there" in state.extension.last_message
        assert b"urn:x-wallprint:passport:1:" in (BASE / names[0]).read_bytes()
        # A layer that was painted on since is no longer that print.
        new = found(document, "Photo for print")
        new.setPixelData(bytes(8), 5, 5, 1, 1)
        state.extension.report(made, BASE / "page2.html")
        yield idle
        assert "not the print of the passport" in str(state.extension.last_error)
        assert not (BASE / "page2.html").exists()
        yield 0.2
        assert close_messages()
    finally:
        module._open = opened


def case_reports_of_other_spaces():
    """Half floats, inks, grey: the program finds the very pixels in the files that it gets."""
    module = sys.modules["wallprint_krita.extension"]
    opened, module._open = module._open, lambda _path: None
    try:
        for kind in ("rgba_f16", "cmyka_u8", "graya_u16"):
            document, node, _data, _layout, _rect = make(kind)
            yield active(document, node)
            yield from run_job(SETTINGS)
            made = message_print()
            state.extension.report(made, BASE / f"{kind}.html")
            yield idle
            ended_well()
            assert (BASE / f"{kind}.html").stat().st_size > 10_000
            state.extension.message.close()
    finally:
        module._open = opened


def message_print():
    """What the last message would hand to its commands."""
    made = []
    state.extension.report = made.append
    try:
        state.extension.message.buttons[0].click()
    finally:
        del state.extension.report
    return made[0]


def case_sharpened_before():
    """A print opened again as a file, or printed in this document: the medium begins with none."""
    try:
        yield from sharpened_before()
    finally:
        krita.writeSetting("wallprint", "enhance", "{}")  # or later starts would find this


def sharpened_before():
    krita.writeSetting("wallprint", "enhance", '{"medium": "canvas", "width": 3.0}')
    document, node, _data, _layout, _rect = make("rgba_u8")
    yield active(document, node)
    dialog = yield from opened()
    assert dialog.settings().medium == "canvas"
    assert dialog._summary.text("twice") == ""
    dialog.reject()
    yield from run_job(SETTINGS)
    state.extension.message.close()
    yield active(document, found(document, "Photo for print"))
    dialog = yield from opened()
    assert dialog.settings().medium == "none", "sharpened twice unless one is careful"
    assert "an earlier print has done that" in dialog._summary.text("halo")
    assert dialog.remembered().medium == "canvas", "other documents would not be sharpened"
    dialog._medium.setCurrentIndex(dialog._medium.findData("glossy"))
    assert "was sharpened for" in dialog._summary.text("twice"), dialog._summary.text("twice")
    assert dialog.ok_button.isEnabled(), "a warning, no refusal"
    yield 0.2
    check_page(dialog)
    dialog.grab().save(str(SHOTS / "krita-dialog-twice.png"))
    dialog.reject()
    krita.setBatchmode(True)
    again = krita.openDocument(str(BASE / "printed.tif"))
    krita.setBatchmode(False)
    krita.activeWindow().addView(again)
    yield active(again, again.rootNode().childNodes()[0])
    dialog = yield from opened()
    assert dialog.settings().medium == "none", "the file's own passport was not found"
    dialog.reject()


run_cases(extension, globals())  # noqa: F821 - given by the plug-in

"""Cases that run inside the real Krita: both dialogs and what they remember."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace

sys.path.insert(0, os.environ["WALLPRINT_TEST_HERE"])

from krita import Selection
from krita_dialog_parts import all_texts, check_page, mnemonics, opened, photo, tabs
from krita_drive import drive
from krita_support import BASE, SHOTS, SRGB, active, krita, run_cases, state

from wallprint_protocol.print_plan import Settings

try:
    from PyQt6.QtCore import QPoint, Qt
    from PyQt6.QtTest import QTest
    from PyQt6.QtWidgets import QDialogButtonBox
except ImportError:
    from PyQt5.QtCore import QPoint, Qt
    from PyQt5.QtTest import QTest
    from PyQt5.QtWidgets import QDialogButtonBox

CHANGED = Settings(
    width=30.0,
    height=20.0,
    unit="in",
    ppi=240.0,
    orientation="portrait",
    fit="pad",
    anchor="top-left",
    edges="wrap",
    edge_mm=25.5,
    wrap_fill="colour",
    wrap_colour="#a0b1c2",
    panel_rows=2,
    panel_columns=4,
    overlap_mm=15.0,
    crop_marks=True,
    distance_cm=150.0,
    style="enhanced",
    repair=35,
    deblur=0,
    feather_mm=2.5,
    medium="backlit",
    strength="high",
    halo_mm=0.35,
    spread_mm=0.045,
    result="replace",
    device="cpu",
    model="span-x4",
    tile_px=128,
    printer="360",
)


def case_enhance_opens_and_its_lines_are_live():
    document = yield from photo()
    dialog = yield from opened()
    assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
    said = dialog._summary.text
    assert "7874 × 5906 px, 46.5 MP" in said("pixels"), "100 cm at 200 ppi"
    check_page(dialog)
    assert len(mnemonics(dialog)) >= 13, mnemonics(dialog)
    yield from tabs(dialog)
    dialog._width.setValue(20.0)
    assert "1575 × 1181 px" in said("pixels"), said("pixels")
    assert dialog._height.value() == 15.0, "the height follows"
    assert not dialog._fit.isEnabled(), "there is nothing to fit"
    assert "200 ppi hold to 44 cm (73 cm)" in said("advice"), said("advice")
    assert "TIFF up to 7 MB" in said("files"), said("files")
    assert "PDF up to 7 MB" in said("files"), said("files")
    assert said("halo") == "Halo 0.25 mm (1/100 in), 2.0 px", said("halo")
    assert re.search(
        r"^Forecast: about .*; 7 MB in the document, 8 MB on the disk and 1.1 GB of memory",
        said("cost"),
    ), said("cost")
    assert said("undo") == "Krita's steps of undo: 2"
    for medium in ("screen", "none"):
        dialog._medium.setCurrentIndex(dialog._medium.findData(medium))
        assert said("halo") == "Not sharpened for paper."
        assert not dialog._strength.isEnabled()
        assert not dialog._halo.isEnabled()
    dialog._width.setValue(2000.0)
    assert not dialog.ok_button.isEnabled()
    assert "Choose another size" in dialog.refusal_line.text(), dialog.refusal_line.text()
    yield 0.2
    check_page(dialog)
    dialog.reject()
    assert (document.width(), document.modified()) == (320, False)


def case_true_detail():
    """Measured once by the server; the size of the print only changes what it amounts to."""
    document = yield from photo()
    dialog = yield from opened()
    said = dialog._summary.text
    yield lambda: "True detail" in said("detail")
    ranged = r"for \d+ ppi \(\d+ to \d+, as read from texture alone\) at 100 x 75 cm; honest up to"
    assert re.search(ranged, said("detail")), said("detail")
    job = dialog._measure._job
    dialog._width.setValue(20.0)
    assert " at 20 x 15 cm; honest up to " in said("detail"), said("detail")
    assert dialog._measure._job is job, "measured again for another size"
    dialog.reject()
    document.rootNode().childNodes()[0].setPixelData(
        bytes([90, 90, 90, 255]) * 76800, 0, 0, 320, 240
    )
    dialog = yield from opened()
    yield lambda: "shows no edge or texture" in dialog._summary.text("detail")
    dialog.reject()


def case_halo_and_ink_spread():
    """Automatic until a width is typed; the line follows, and so does what is computed."""
    yield from photo()
    dialog = yield from opened()
    fields, said = dialog._halo, dialog._summary.text
    assert [n.text() for n in (fields._halo, fields._spread)] == ["automatic"] * 2
    dialog._width.setValue(20.0)
    dialog.activateWindow()
    fields._halo.setFocus()
    fields._halo.selectAll()
    QTest.keyClicks(fields._halo, "0.4\t")
    fields._spread.setValue(0.045)
    assert said("halo") == "Halo 0.40 mm (1/63 in), 3.1 px, fitted", said("halo")
    settings = dialog.settings()
    assert (settings.halo_mm, settings.spread_mm) == (0.4, 0.045)
    QTest.mouseClick(dialog._preview._thumb, Qt.MouseButton.LeftButton, pos=QPoint(70, 47))
    yield lambda: dialog._preview._pictures is not None
    fitted = dialog._preview._pictures[1].toImage()
    yield from tabs(dialog)
    dialog.grab().save(str(SHOTS / "krita-dialog-halo.png"))
    fields._halo.setValue(0.0)
    assert fields._halo.text() == "automatic"
    assert said("halo") == "Halo 0.25 mm (1/100 in), 2.0 px", said("halo")
    QTest.mouseClick(dialog._preview._thumb, Qt.MouseButton.LeftButton, pos=QPoint(70, 47))
    yield lambda: dialog._preview._pictures is not None
    assert dialog._preview._pictures[1].toImage() != fitted, "the halo did not arrive"
    pick(dialog._medium, "none")
    assert not fields.isEnabled()
    dialog.reject()


def pick(box, value):
    index = box.findData(value)
    assert index >= 0, f"{value} is not offered"
    box.setCurrentIndex(index)


def case_edges():
    yield from photo()
    dialog = yield from opened()
    paper, said = dialog._paper, dialog._summary.text
    assert not paper.edge_mm.isEnabled()
    dialog._width.setValue(20.0)
    for kind, width_mm, px in (("bleed", 3.0, 24), ("wrap", 40.0, 315)):
        pick(paper.edges, kind)
        assert paper.edge_mm.isEnabled()
        assert paper.fill.isEnabled() == (kind == "wrap")
        assert paper.edge_mm.value() == width_mm, "the kind's usual width"
        assert f"{1575 + 2 * px} × {1181 + 2 * px} px" in said("pixels")
        assert f"with edges of {px} px; trimmed 20.0 × 15.0 cm" in said("pixels")
        assert said("undo") == "Krita's steps of undo: 3"
    assert not paper.colour.isEnabled()
    for fill in ("image", "stretch", "average"):
        pick(paper.fill, fill)
        assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
        assert dialog._preview._settings.wrap_fill == fill
    pick(paper.fill, "colour")
    assert paper.colour.isEnabled()
    paper.colour.setValue("#12")
    dialog.update_lines()
    assert "#RRGGBB" in dialog.refusal_line.text(), dialog.refusal_line.text()
    paper.colour.setValue("#336699")
    dialog.update_lines()
    assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
    yield from tabs(dialog)
    paper.edge_mm.setValue(200.0)
    assert "wider than the print" in dialog.refusal_line.text()
    dialog.reject()


def case_panels():
    yield from photo()
    dialog = yield from opened()
    paper, said = dialog._paper, dialog._summary.text
    assert said("panels") == ""
    for widget in (paper.rows, paper.sheet_mm, paper.overlap_mm):
        assert not widget.isEnabled()
    pick(paper.cut, "panels")
    assert said("panels") == "3 panels (1 × 3) of up to 34.7 × 75.0 cm, overlap 19.9 mm"
    paper.rows.setValue(2)
    assert said("panels").startswith("6 panels (2 × 3)")
    pick(paper.cut, "sheet")
    assert said("panels").startswith("2 panels (1 × 2)"), said("panels")
    assert dialog.settings().sheet_width_mm == 610.0
    paper.marks.setChecked(True)
    assert "marks on" in said("panels"), said("panels")
    yield from tabs(dialog)
    dialog._tabs.setCurrentIndex(1)
    yield 0.2
    dialog.grab().save(str(SHOTS / "krita-dialog-paper.png"))
    paper.overlap_mm.setValue(700.0)
    assert "overlap of 700 mm" in dialog.refusal_line.text(), dialog.refusal_line.text()
    dialog.reject()


def case_orientation_and_anchor():
    yield from photo()
    dialog = yield from opened()
    paper, said = dialog._paper, dialog._summary.text
    for widget in (paper.orientation, paper.anchor):
        assert not widget.isEnabled(), "there is nothing to fit"
    pick(dialog._preset, "A3")
    assert paper.orientation.isEnabled()
    assert not paper.anchor.isEnabled(), "the ratio is kept"
    pick(dialog._fit, "crop")
    assert "3307 × 2339 px" in said("pixels")
    assert said("fit") == "Keeps 320 × 226 px, 94 % of the picture.", said("fit")
    pick(paper.orientation, "portrait")
    assert "2339 × 3307 px" in said("pixels")
    assert paper.anchor.isEnabled()
    pick(paper.anchor, "left")
    plan = dialog._preview._plan
    assert plan.placement.window.x == 0.0, "the anchor did not arrive"
    pick(dialog._preset, "custom")
    assert dialog.settings().orientation == ("auto" if dialog._chain.isChecked() else "portrait")
    dialog.reject()


def case_presets_of_ones_own():
    """From the file in the configuration folder; a file that cannot be read is told of."""
    folder = BASE / "presets"
    folder.mkdir(exist_ok=True)
    os.environ["WALLPRINT_CONFIG_DIR"] = str(folder)
    try:
        (folder / "presets.json").write_text('{"Living room": "60x90cm"}')
        yield from photo()
        dialog = yield from opened()
        pick(dialog._preset, "own:Living room")
        pick(dialog._fit, "crop")
        assert dialog.settings().preset == "Living room"
        assert "7087 × 4724 px" in dialog._summary.text("pixels"), "turned with the picture"
        (folder / "presets.json").write_text('["Living room"]')
        dialog.reject()
        dialog = yield from opened()
        texts = " ".join(all_texts(dialog))
        assert "presets.json must hold" in texts, "nobody says why the own sizes are not there"
        dialog.reject()
    finally:
        del os.environ["WALLPRINT_CONFIG_DIR"]


def case_preset_shows_its_size():
    yield from photo()
    dialog = yield from opened()
    said = dialog._summary.text
    dialog._preset.setCurrentIndex(dialog._preset.findData("A2"))
    assert "3118 × 2339 px" not in said("pixels")
    assert not dialog._width.isEnabled()
    assert dialog._fit.isEnabled()
    dialog._fit.setCurrentIndex(dialog._fit.findData("crop"))
    assert "4677 × 3307 px" in said("pixels"), said("pixels")
    assert (dialog._width.value(), dialog._height.value()) == (59.4, 42.0)
    dialog._preset.setCurrentIndex(0)
    assert dialog._width.value() == 59.4, "one's own size begins with the preset's"
    dialog._unit.setCurrentIndex(dialog._unit.findData("mm"))
    assert dialog._width.value() == 594.0
    dialog.reject()


def case_spot_of_the_print():
    document = yield from photo()
    dialog = yield from opened()
    dialog._width.setValue(20.0)
    thumbnail = dialog._preview._thumb
    plain = thumbnail.pixmap().toImage()
    QTest.mouseClick(thumbnail, Qt.MouseButton.LeftButton, pos=QPoint(70, 47))
    yield lambda: dialog._preview._pictures is not None
    yield 0.3
    before, after = (p.toImage() for p in dialog._preview._pictures)
    assert (after.width(), after.height()) == (400, 220)
    assert before != after, "before and after are the same"
    assert thumbnail.pixmap().toImage() != plain, "the spot is not marked"
    check_page(dialog)
    dialog.grab().save(str(SHOTS / "krita-dialog.png"))
    spot = dialog._preview._spot
    shown = spot.pixmap().toImage()
    QTest.mouseClick(spot, Qt.MouseButton.LeftButton, pos=QPoint(300, 100))
    assert spot.pixmap().toImage() != shown, "the line cannot be moved"
    # A second click while the first is computed: the last one counts.
    for x in (10, 130):
        QTest.mouseClick(thumbnail, Qt.MouseButton.LeftButton, pos=QPoint(x, 20))
    # Krita turns its loop while the layer is looked at again: between two jobs, too.
    yield lambda: dialog._preview._pictures[1].toImage() != after
    yield lambda: not dialog._preview._job.running
    dialog._ppi.setValue(150)
    assert dialog._preview._pictures is None, "a spot of other values is still shown"
    dialog.reject()
    assert (document.width(), document.modified()) == (320, False)


def case_large_picture():
    """The small picture of a large one, in the same colours and proportions, without a wait."""
    width, height = 3000, 1500
    document = krita.createDocument(width, height, "large", "RGBA", "U8", SRGB, 72.0)
    node = document.rootNode().childNodes()[0]
    red, blue = b"\x00\x00\xff\xff", b"\xff\x00\x00\xff"
    node.setPixelData((red * 1000 + blue * 2000) * height, 0, 0, width, height)
    krita.activeWindow().addView(document)
    document.refreshProjection()
    yield active(document, node)
    dialog = yield from opened()
    small = dialog._preview._picture.toImage()
    assert (small.width(), small.height()) == (140, 70)
    assert small.pixelColor(40, 35).getRgb()[:3] == (255, 0, 0)
    assert small.pixelColor(52, 35).getRgb()[:3] == (0, 0, 255)
    dialog.reject()


def case_test_connection():
    yield from photo()
    dialog = yield from opened()
    advanced = dialog._advanced
    dialog._tabs.setCurrentWidget(advanced)
    yield lambda: not dialog._measure.running
    check_page(dialog)
    button, line = advanced._test.button, advanced._test.line
    drive.driver.longest_gap_s = 0.0
    button.click()
    assert not button.isEnabled()
    assert line.text() == "Asking the server…"
    yield button.isEnabled
    assert re.fullmatch(r"wallprint [\d.]+ answers and computes on CPU.*", line.text()), line.text()
    assert drive.driver.longest_gap_s < 0.25, drive.driver.longest_gap_s
    names = [advanced._model.itemText(i) for i in range(advanced._model.count())]
    assert "span-x4" in names, "the server's networks can be chosen"
    dialog.grab().save(str(SHOTS / "krita-dialog-advanced.png"))
    for widget, wrong, cure in (
        (advanced._device, "mps", "choose another or `auto`"),
        (advanced._model, "no-such", "There is no such network."),
    ):
        if widget is advanced._model:
            widget.setEditText(wrong)
        else:
            widget.setCurrentIndex(widget.findData(wrong))
        button.click()
        yield button.isEnabled
        assert cure in line.text(), line.text()
        advanced.set_values(Settings())
    assert dialog.ok_button.isEnabled()
    dialog.reject()


def case_values_are_remembered():
    document = yield from photo()
    started = []
    state.extension.enhance = lambda *a: started.append(a)
    try:
        dialog = yield from opened()
        dialog.set_settings(CHANGED)
        assert dialog.settings() == CHANGED, dialog.settings()
        dialog.accept()
    finally:
        del state.extension.enhance
    assert started == [(CHANGED,)], started
    dialog = yield from opened()
    assert dialog.settings() == CHANGED, "not what was remembered"
    yield 0.2
    check_page(dialog)
    kinds = QDialogButtonBox.StandardButton
    dialog._buttons.button(kinds.RestoreDefaults).click()
    assert dialog.settings() == Settings(width=100.0), dialog.settings()
    dialog.reject()
    dialog = yield from opened()
    assert dialog.settings() == CHANGED, "Cancel has changed what is remembered"
    dialog.reject()
    assert document.width() == 320


def case_sharpen_values_are_remembered():
    document = yield from photo()
    selection = Selection()
    selection.select(40, 30, 60, 50, 255)
    document.setSelection(selection)
    yield 0.3
    wanted = Settings(
        distance_cm=90.0,
        deblur=10,
        feather_mm=0.5,
        medium="canvas",
        strength="low",
        halo_mm=0.3,
        spread_mm=0.05,
    )
    started = []
    state.extension.sharpen = lambda *a: started.append(a)
    try:
        dialog = yield from opened("wallprint_sharpen_selection")
        assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
        check_page(dialog)
        dialog.set_settings(wanted, {"length_mm": 640.0})
        dialog.accept()
    finally:
        del state.extension.sharpen
    assert started == [(wanted, 640.0)], started
    dialog = yield from opened("wallprint_sharpen_selection")
    assert (dialog.settings(), dialog.extra()) == (wanted, {"length_mm": 640.0})
    dialog.grab().save(str(SHOTS / "krita-sharpen.png"))
    dialog.set_defaults()
    assert (dialog.settings(), dialog.extra()) == (Settings(), {"length_mm": 0.0})
    dialog.reject()
    dialog = yield from opened()
    assert dialog.settings().medium != "canvas", "one dialog's values are the other's"
    assert dialog.settings().source == "selection", "a selection is the default where it exists"
    dialog.reject()


def case_dialog_follows_the_document():
    document = yield from photo()
    dialog = yield from opened()
    assert "Selection: none." in dialog.source_line.text()
    selection = Selection()
    selection.select(40, 30, 60, 50, 255)
    document.setSelection(selection)
    yield lambda: "Selection: 60 × 50 px." in dialog.source_line.text()
    other = krita.createDocument(64, 64, "other", "RGBA", "U8", "sRGB-elle-V2-srgbtrc.icc", 72.0)
    krita.activeWindow().addView(other)
    yield lambda: not dialog.ok_button.isEnabled()
    assert "Another document is active" in dialog.refusal_line.text()
    for one in (other, document):
        one.setModified(False)
        one.close()
    yield lambda: "No document is open" in dialog.refusal_line.text()
    dialog._width.setValue(dialog._width.value() + 1)
    dialog.set_defaults()
    assert not dialog.ok_button.isEnabled()
    dialog.reject()


def case_help():
    yield from photo()
    dialog = yield from opened()
    dialog._buttons.button(QDialogButtonBox.StandardButton.Help).click()
    yield 0.2
    assert dialog._help.isVisible()
    dialog._help.close()
    dialog.reject()


def case_sharpen_without_a_selection():
    yield from photo()
    dialog = yield from opened("wallprint_sharpen_selection")
    assert not dialog.ok_button.isEnabled(), "there is no selection"
    assert "select what is to be sharpened" in dialog.refusal_line.text()
    dialog.reject()


def case_settings_that_cannot_be_read():
    krita.writeSetting("wallprint", "enhance", '{"ppi": "many", "repair": "x", "style": 7, "fit"')
    yield from photo()
    dialog = yield from opened()
    assert dialog.settings() == replace(Settings(), width=100.0)
    dialog.reject()
    krita.writeSetting(
        "wallprint", "enhance", '{"ppi": "many", "repair": "x", "medium": "tin", "strength": "low"}'
    )
    dialog = yield from opened()
    assert dialog.settings() == replace(Settings(), width=100.0, strength="low")
    dialog.reject()


def case_zz_leaves_values_for_the_next_start():
    yield 0.1
    krita.writeSetting("wallprint", "enhance", '{"ppi": 222.0, "medium": "glossy"}')


run_cases(extension, globals())  # noqa: F821 - given by the plug-in

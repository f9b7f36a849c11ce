"""Cases that run inside the real Krita: both dialogs and what they remember."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace

sys.path.insert(0, os.environ["WALLPRINT_TEST_HERE"])

from krita import Selection
from krita_dialog_parts import check_page, mnemonics, opened, photo
from krita_drive import drive
from krita_support import SHOTS, krita, run_cases, state

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
    fit="pad",
    edges="wrap",
    edge_mm=25.5,
    distance_cm=150.0,
    style="enhanced",
    repair=35,
    deblur=0,
    feather_mm=2.5,
    medium="backlit",
    strength="high",
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
    assert "7874 × 5906 px, 46.5 MP" in dialog._pixels.text(), "100 cm at 200 ppi"
    check_page(dialog)
    assert len(mnemonics(dialog)) >= 16, mnemonics(dialog)
    dialog._width.setValue(20.0)
    assert "1575 × 1181 px" in dialog._pixels.text(), dialog._pixels.text()
    assert dialog._height.value() == 15.0, "the height follows"
    assert not dialog._fit.isEnabled(), "there is nothing to fit"
    assert "44 cm" in dialog._advice.text()
    assert dialog._halo.text() == "Halo 0.25 mm (1/100 in), 2.0 px", dialog._halo.text()
    assert re.search(
        r"^Forecast: about .*; 7 MB in the document, 8 MB on the disk and 1.1 GB of memory",
        dialog._cost.text(),
    ), dialog._cost.text()
    assert dialog._undo.text() == "Krita's steps of undo: 2"
    for medium in ("screen", "none"):
        dialog._medium.setCurrentIndex(dialog._medium.findData(medium))
        assert dialog._halo.text() == "Not sharpened for paper."
        assert not dialog._strength.isEnabled()
    dialog._width.setValue(2000.0)
    assert not dialog.ok_button.isEnabled()
    assert "Choose another size" in dialog.refusal_line.text(), dialog.refusal_line.text()
    yield 0.2
    check_page(dialog)
    dialog.reject()
    assert (document.width(), document.modified()) == (320, False)


def case_edges():
    yield from photo()
    dialog = yield from opened()
    assert not dialog._edge_mm.isEnabled()
    dialog._width.setValue(20.0)
    for kind, width_mm, px in (("bleed", 3.0, 24), ("wrap", 40.0, 315)):
        dialog._edges.setCurrentIndex(dialog._edges.findData(kind))
        assert dialog._edge_mm.isEnabled()
        assert dialog._edge_mm.value() == width_mm, "the kind's usual width"
        assert f"{1575 + 2 * px} × {1181 + 2 * px} px" in dialog._pixels.text()
        assert f"with edges of {px} px; trimmed 20.0 × 15.0 cm" in dialog._pixels.text()
        assert dialog._undo.text() == "Krita's steps of undo: 3"
    yield 0.2
    check_page(dialog)
    dialog._edge_mm.setValue(200.0)
    assert "wider than the print" in dialog.refusal_line.text()
    dialog.reject()


def case_preset_shows_its_size():
    yield from photo()
    dialog = yield from opened()
    dialog._preset.setCurrentIndex(dialog._preset.findData("A2"))
    assert "3118 × 2339 px" not in dialog._pixels.text()
    assert not dialog._width.isEnabled()
    assert dialog._fit.isEnabled()
    dialog._fit.setCurrentIndex(dialog._fit.findData("crop"))
    assert "4677 × 3307 px" in dialog._pixels.text(), dialog._pixels.text()
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
    yield lambda: not dialog._preview._job.running and dialog._preview._next is None
    assert dialog._preview._pictures[1].toImage() != after
    dialog._ppi.setValue(150)
    assert dialog._preview._pictures is None, "a spot of other values is still shown"
    dialog.reject()
    assert (document.width(), document.modified()) == (320, False)


def case_test_connection():
    yield from photo()
    dialog = yield from opened()
    advanced = dialog._advanced
    assert not advanced._part.isVisible(), "folded at first"
    folded = dialog.height()
    advanced._button.click()
    yield 0.3
    assert advanced._part.isVisible()
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
    advanced._button.click()
    yield 0.3
    assert dialog.height() <= folded, f"{dialog.height()} px, {folded} before: room is left over"
    dialog.reject()


def case_values_are_remembered():
    document = yield from photo()
    started = []
    state.extension.enhance = lambda *a: started.append(a)
    try:
        dialog = yield from opened()
        dialog.set_settings(CHANGED)
        assert dialog.settings() == CHANGED, dialog.settings()
        assert dialog._advanced._part.isVisible(), "what is not the default does not hide"
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
    wanted = Settings(distance_cm=90.0, deblur=10, feather_mm=0.5, medium="canvas", strength="low")
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

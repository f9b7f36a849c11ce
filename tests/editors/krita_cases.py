"""Cases that run inside the real Krita: layers of all kinds, results, undo, cancel."""

from __future__ import annotations

import os
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, os.environ["WALLPRINT_TEST_HERE"])

from krita import InfoObject, Selection
from krita_drive import drive
from krita_support import (
    BASE,
    KINDS,
    SETTINGS,
    SHOTS,
    SIZE,
    SRGB,
    Watch,
    active,
    arrived,
    ask_server,
    close_messages,
    difference,
    ended_well,
    found,
    idle,
    krita,
    make,
    names,
    read,
    read_sheet,
    redo,
    run_cases,
    run_job,
    snapshot,
    start,
    state,
    undo,
)

from wallprint_protocol.print_plan import Settings
from wallprint_protocol.print_size import Rect, Size

try:
    from PyQt6.QtCore import Qt
    from PyQt6.QtTest import QTest
    from PyQt6.QtWidgets import QMenu, QPushButton
except ImportError:
    from PyQt5.QtCore import Qt
    from PyQt5.QtTest import QTest
    from PyQt5.QtWidgets import QMenu, QPushButton


# -- layers -------------------------------------------------------------------


def enlarged(kind):
    """The common case: one layer as large as the canvas, then undo."""
    document, node, data, layout, rect = make(kind)
    yield active(document, node)
    before = snapshot(document)
    profile = document.colorProfile()
    answer = ask_server(data, layout, rect, SIZE, SETTINGS)
    yield arrived(answer)
    yield from run_job(SETTINGS)
    assert (document.width(), document.height(), document.resolution()) == (96, 72, 200)
    assert names(document) == ["Photo", "Photo for print"]
    new = found(document, "Photo for print")
    assert new.colorProfile() == profile
    assert (new.colorModel(), new.colorDepth()) == (node.colorModel(), node.colorDepth())
    got = read_sheet(document, new)
    assert got == answer["pixels"], difference(got, answer["pixels"])
    assert len(set(got)) > 8, "the result is flat"
    assert "2 times" in state.extension.last_message, state.extension.last_message
    yield from undo(document)
    assert snapshot(document) != before
    yield from undo(document)
    assert snapshot(document) == before, "two steps of undo do not bring everything back"
    assert read(node, rect) == data


def case_rgba_u8():
    yield from enlarged("rgba_u8")


def case_rgba_u16():
    yield from enlarged("rgba_u16")


def case_rgba_f16():
    yield from enlarged("rgba_f16")


def case_rgba_f32():
    yield from enlarged("rgba_f32")


def case_cmyka_u8():
    yield from enlarged("cmyka_u8")


def case_graya_u8():
    yield from enlarged("graya_u8")


def case_graya_u16():
    yield from enlarged("graya_u16")


def case_cmyka_u16():
    yield from enlarged("cmyka_u16")


def case_layer_larger_than_canvas():
    rect = Rect(-9, -6, 70, 50)
    document, node, data, layout, rect = make("rgba_u8", rect)
    yield active(document, node)
    answer = ask_server(data, layout, rect, SIZE, SETTINGS)
    yield arrived(answer)
    yield from run_job(SETTINGS)
    assert (document.width(), document.height()) == (96, 72)
    assert answer["job"].offset == (-18, -12)
    got = read(found(document, "Photo for print"), Rect(-18, -12, 140, 100))
    assert got == answer["pixels"], difference(got, answer["pixels"])


def case_layer_smaller_than_canvas():
    rect = Rect(11, 9, 20, 15)
    document, node, _data, layout, rect = make("rgba_u8", rect)
    bounds = node.bounds()
    yield active(document, node)
    # The transparent corner of the picture is not part of what Krita calls the bounds.
    own = Rect(bounds.x(), bounds.y(), bounds.width(), bounds.height())
    answer = ask_server(read(node, own), layout, own, SIZE, SETTINGS)
    yield arrived(answer)
    yield from run_job(SETTINGS)
    x, y = answer["job"].offset
    out = answer["job"].placement.out
    got = read(found(document, "Photo for print"), Rect(x, y, out.width, out.height))
    assert got == answer["pixels"], difference(got, answer["pixels"])
    assert (x, y) == (2 * own.x, 2 * own.y)


def case_group_is_its_composite():
    document, node, _data, layout, rect = make("rgba_u8")
    group = document.createNode("Group", "grouplayer")
    document.rootNode().addChildNode(group, None)
    inner = node.duplicate()
    group.addChildNode(inner, None)
    node.remove()
    document.refreshProjection()
    yield 0.3
    yield active(document, group)
    shown = bytes(group.projectionPixelData(0, 0, 48, 36))
    bounds = group.bounds()
    own = Rect(bounds.x(), bounds.y(), bounds.width(), bounds.height())
    assert own == rect
    answer = ask_server(shown, layout, own, SIZE, SETTINGS)
    yield arrived(answer)
    yield from run_job(SETTINGS)
    assert names(document) == ["Group", "Group for print"]
    got = read_sheet(document, found(document, "Group for print"))
    assert got == answer["pixels"], difference(got, answer["pixels"])


def case_vector_layer_as_pixels():
    document, node, _data, _layout, _rect = make("rgba_u8")
    vector = document.createVectorLayer("Vector")
    document.rootNode().addChildNode(vector, node)
    svg = (
        '<svg width="48px" height="36px" viewBox="0 0 48 36" xmlns="http://www.w3.org/2000/svg">'
        '<rect x="10" y="8" width="24" height="18" fill="#ff0000"/></svg>'
    )
    assert vector.addShapesFromSvg(svg)
    document.refreshProjection()
    yield 0.5
    yield active(document, vector)
    yield from run_job(SETTINGS)
    new = found(document, "Vector for print")
    bounds = new.bounds()
    assert bounds.width() > 10, "the vector layer came out empty"
    x, y = bounds.x() + bounds.width() // 2, bounds.y() + bounds.height() // 2
    assert read(new, Rect(x, y, 1, 1)) == b"\x00\x00\xff\xff", "red, as B, G, R, A"


def case_masked_layer_as_it_shows():
    document, node, data, layout, _rect = make("rgba_u8")
    mask = document.createTransparencyMask("Mask")
    shown = Selection()
    shown.select(10, 6, 30, 20, 255)
    mask.setSelection(shown)
    node.addChildNode(mask, None)
    document.refreshProjection()
    yield 0.5
    yield active(document, node)
    bounds = node.bounds()
    own = Rect(bounds.x(), bounds.y(), bounds.width(), bounds.height())
    projection = bytes(node.projectionPixelData(own.x, own.y, own.width, own.height))
    assert projection != data, "the mask hides nothing"
    answer = ask_server(projection, layout, own, SIZE, SETTINGS)
    yield arrived(answer)
    yield from run_job(SETTINGS)
    x, y = answer["job"].offset
    out = answer["job"].placement.out
    got = read(found(document, "Photo for print"), Rect(x, y, out.width, out.height))
    assert got == answer["pixels"], difference(got, answer["pixels"])


def case_visible_picture():
    """All layers together, as the document shows them."""
    document, node, data, layout, rect = make("rgba_u8")
    above = document.createNode("Above", "paintlayer")
    above.setPixelData(b"\x00\x00\xff\x80" * 200, 14, 9, 20, 10)
    document.rootNode().addChildNode(above, node)
    document.refreshProjection()
    yield 0.3
    yield active(document, node)
    shown = bytes(document.pixelData(0, 0, 48, 36))
    assert shown != data, "the upper layer does not show"
    answer = ask_server(shown, layout, rect, SIZE, SETTINGS)
    yield arrived(answer)
    yield from run_job(replace(SETTINGS, source="visible"))
    got = read_sheet(document, found(document, "Visible for print"))
    assert got == answer["pixels"], difference(got, answer["pixels"])


def case_selection_only():
    document, node, data, layout, rect = make("rgba_u16")
    selection = Selection()
    selection.select(12, 8, 20, 16, 255)
    selection.feather(3)
    document.setSelection(selection)
    yield active(document, node)
    mask = bytes(document.selection().pixelData(0, 0, 48, 36))
    assert len(set(mask)) > 3, "the selection is not feathered"
    settings = replace(SETTINGS, source="selection", feather_mm=0.5)
    answer = ask_server(data, layout, rect, SIZE, settings, mask)
    whole = ask_server(data, layout, rect, SIZE, SETTINGS)
    yield arrived(answer)
    yield arrived(whole)
    yield from run_job(settings)
    got = read_sheet(document, found(document, "Photo for print"))
    assert got == answer["pixels"], difference(got, answer["pixels"])
    assert got != whole["pixels"], "the selection made no difference"


def case_sharpen_selection():
    document, node, data, _layout, rect = make("rgba_u16")
    selection = Selection()
    selection.select(12, 8, 20, 16, 255)
    document.setSelection(selection)
    yield active(document, node)
    settings = Settings(deblur=0, feather_mm=0.0, strength="high")
    state.extension.sharpen(settings, 12.0)
    yield idle
    ended_well()
    yield 0.3
    assert (document.width(), document.height()) == (48, 36)
    new = found(document, "Photo sharpened")
    assert read(node, rect) == data, "the layer itself is untouched"
    after = read(new, rect)
    changed = {i // 8 for i, (a, b) in enumerate(zip(data, after)) if a != b}
    assert len(changed) > 60, "nothing was sharpened"
    outside = [p for p in changed if not (12 <= p % 48 < 32 and 8 <= p // 48 < 24)]
    assert not outside, f"{len(outside)} pixels outside the selection changed: {outside[:4]}"
    assert "undo once" in state.extension.last_message, state.extension.last_message
    yield from undo(document)
    assert "Photo sharpened" not in names(document), "one undo step"


# -- results ------------------------------------------------------------------


def case_new_image():
    document, node, data, layout, rect = make("rgba_u16")
    yield active(document, node)
    before = snapshot(document)
    settings = replace(SETTINGS, result="new-image")
    answer = ask_server(data, layout, rect, SIZE, settings)
    yield arrived(answer)
    yield from run_job(settings)
    assert snapshot(document) == before, "the source changed"
    assert "new image" in state.extension.last_message
    made = next(one for one in krita.documents() if one.width() == 96)
    assert (made.height(), made.resolution(), made.colorProfile()) == (72, 200, SRGB)
    assert names(made) == ["Photo for print"]
    got = read_sheet(made, made.rootNode().childNodes()[0])
    assert got == answer["pixels"], difference(got, answer["pixels"])
    made.setBatchmode(True)
    path = str(BASE / "krita.png")
    assert made.exportImage(path, InfoObject())
    head = Path(path).read_bytes()[:33]
    assert struct.unpack(">II", head[16:24]) == (96, 72)
    assert head[24] == 16, "16 bits a channel"


def case_replace_and_three_times_undo():
    """The old layer is removed only when the new one is there; undo brings back the very same."""
    document, node, data, layout, rect = make("rgba_u16")
    above = document.createNode("Above", "paintlayer")
    document.rootNode().addChildNode(above, node)
    node.setOpacity(200)
    node.setBlendingMode("multiply")
    document.refreshProjection()
    yield 0.3
    yield active(document, node)
    before = snapshot(document)
    settings = replace(SETTINGS, result="replace")
    answer = ask_server(data, layout, rect, SIZE, settings)
    yield arrived(answer)
    yield from run_job(settings)
    assert names(document) == ["Photo", "Above"], "one layer in the place of the other"
    new = found(document, "Photo")
    assert new.uniqueId() != node.uniqueId(), "the layer was not replaced"
    assert (new.opacity(), new.blendingMode()) == (200, "multiply")
    got = read_sheet(document, new)
    assert got == answer["pixels"], difference(got, answer["pixels"])
    assert "3 times" in state.extension.last_message, state.extension.last_message
    replaced = snapshot(document)
    for _step in range(2):
        yield from undo(document)
        assert snapshot(document) != before
    yield from undo(document)
    assert snapshot(document) == before, "three steps of undo do not bring everything back"
    for _step in range(3):
        yield from redo(document)
    assert snapshot(document) == replaced, "redo does not bring the print again"


def case_replacing_by_the_visible_picture_is_refused():
    document, node, _data, _layout, _rect = make("rgba_u8")
    yield active(document, node)
    before = snapshot(document)
    state.extension.enhance(replace(SETTINGS, source="visible", result="replace"))
    assert state.extension.running is None
    assert "cannot replace a layer" in str(state.extension.last_error)
    yield 0.2
    assert any("cannot replace" in text for text in close_messages())
    assert snapshot(document) == before


def mirrored(face, size, edge, pixel_bytes):
    """A face of (width, height) with margins that repeat it, border pixel first; rows of bytes."""
    width, height = size
    row_bytes = width * pixel_bytes
    wide = []
    for y in range(height):
        row = face[y * row_bytes : (y + 1) * row_bytes]
        cells = [row[x : x + pixel_bytes] for x in range(0, row_bytes, pixel_bytes)]
        wide.append(b"".join([*cells[:edge][::-1], *cells, *cells[-edge:][::-1]]))
    return b"".join([*wide[:edge][::-1], *wide, *wide[-edge:][::-1]])


def edged(edges, edge_mm, edge_px):
    """Edges are mirrored copies of the face, bit for bit; the face is the print without them."""
    document, node, data, layout, rect = make("rgba_u16")
    yield active(document, node)
    before = snapshot(document)
    face = ask_server(data, layout, rect, SIZE, SETTINGS)
    yield arrived(face)
    yield from run_job(replace(SETTINGS, edges=edges, edge_mm=edge_mm))
    sheet = (96 + 2 * edge_px, 72 + 2 * edge_px)
    assert (document.width(), document.height()) == sheet, (document.width(), document.height())
    got = read_sheet(document, found(document, "Photo for print"))
    expected = mirrored(face["pixels"], (96, 72), edge_px, layout.bytes_per_pixel)
    assert got == expected, difference(got, expected)
    assert document.resolution() == 200
    old = read(node, Rect(edge_px, edge_px, 96, 72))
    assert any(old), "the other layers are not in register with the face"
    bounds = node.bounds()
    assert abs(bounds.x() - edge_px) <= 1, bounds
    assert "3 times" in state.extension.last_message, state.extension.last_message
    for _step in range(3):
        assert snapshot(document) != before
        yield from undo(document)
    assert snapshot(document) == before


def case_bleed():
    yield from edged("bleed", 3.0, 24)


def case_gallery_wrap():
    yield from edged("wrap", 5.0, 39)


def case_wrap_fillings():
    """What goes round the bar arrives at the server: one colour, the border drawn out."""
    rims = {}
    for fill in ("colour", "stretch"):
        document, node, data, layout, rect = make("rgba_u8")
        yield active(document, node)
        settings = replace(
            SETTINGS, edges="wrap", edge_mm=2.0, wrap_fill=fill, wrap_colour="#3366ff"
        )
        answer = ask_server(data, layout, rect, SIZE, settings)
        yield arrived(answer)
        yield from run_job(settings)
        got = read_sheet(document, found(document, "Photo for print"))
        assert got == answer["pixels"], difference(got, answer["pixels"])
        rims[fill] = got[:4]
    assert rims["colour"] == b"\xff\x66\x33\xff", rims
    assert rims["stretch"] != rims["colour"]


def case_bleed_takes_the_picture_that_was_cropped():
    """Crop to fill leaves picture beyond the trim: the bleed shows that, mirrored only after it."""
    document, node, data, layout, rect = make("rgba_u8")
    yield active(document, node)
    square = replace(SETTINGS, width=72.0, height=72.0, fit="crop", edges="bleed", edge_mm=1.0)
    answer = ask_server(data, layout, rect, SIZE, square)
    yield arrived(answer)
    yield from run_job(square)
    assert (document.width(), document.height()) == (88, 88)
    got = read_sheet(document, found(document, "Photo for print"))
    assert got == answer["pixels"], difference(got, answer["pixels"])
    rows = [got[y * 88 * 4 : (y + 1) * 88 * 4] for y in range(88)]
    assert rows[:8] == rows[8:16][::-1], "above there is nothing: mirrored"
    left = [row[x * 4 : x * 4 + 4] for row in rows for x in range(8)]
    right = [row[x * 4 : x * 4 + 4] for row in rows for x in range(15, 7, -1)]
    assert left != right, "on the left the picture goes on"


def case_edges_wider_than_the_print_are_refused():
    document, node, _data, _layout, _rect = make("rgba_u8")
    yield active(document, node)
    before = snapshot(document)
    state.extension.enhance(replace(SETTINGS, edges="wrap", edge_mm=40.0))
    assert state.extension.running is None
    assert "wider than the print" in str(state.extension.last_error)
    yield 0.2
    close_messages()
    assert snapshot(document) == before


def case_pad():
    document, node, data, layout, rect = make("rgba_u8")
    yield active(document, node)
    before = snapshot(document)
    settings = replace(SETTINGS, width=100.0, height=100.0, fit="pad")
    answer = ask_server(data, layout, rect, SIZE, settings)
    yield arrived(answer)
    yield from run_job(settings)
    assert (document.width(), document.height()) == (100, 100)
    got = read_sheet(document, found(document, "Photo for print"))
    assert got == answer["pixels"], difference(got, answer["pixels"])
    assert got[:4] == b"\xff\xff\xff\xff", "white paper"
    assert abs(node.bounds().y() - 12) <= 1, "the other layers are not in register with the print"
    for _step in range(3):
        yield from undo(document)
    assert snapshot(document) == before


def case_printer_match():
    """A printer of 360 ppi: millimetres stay, pixels and resolution are the printer's."""
    document, node, data, layout, rect = make("rgba_u8")
    yield active(document, node)
    settings = replace(SETTINGS, width=1.2, unit="cm", ppi=200.0, printer="360")
    answer = ask_server(data, layout, rect, SIZE, settings)
    yield arrived(answer)
    yield from run_job(settings)
    assert document.width() == round(12 * 360 / 25.4) == 170
    assert (document.xRes(), document.yRes()) == (360.0, 360.0)
    got = read_sheet(document, found(document, "Photo for print"))
    assert got == answer["pixels"], difference(got, answer["pixels"])


def case_model_tile_and_device_reach_the_server():
    canvas = Size(300, 200)
    document, node, _data, _layout, _rect = make("rgba_u8", canvas=canvas)
    yield active(document, node)
    settings = replace(SETTINGS, width=600.0)
    yield from run_job(settings)
    usual = state.extension.last_result.report
    assert usual["ladder"] == ["span-x2"], usual
    for _step in range(2):
        yield from undo(document)
    yield active(document, node)
    yield from run_job(replace(settings, model="span-x4", tile_px=144, device="cpu"))
    report = state.extension.last_result.report
    assert report["ladder"] == ["span-x4"], "the network's name did not arrive"
    assert report["tiles"] > usual["tiles"], f"{report['tiles']} tiles: the size did not arrive"
    assert report["device"].startswith("CPU"), report["device"]
    for _step in range(2):
        yield from undo(document)
    for wrong, code in (
        (replace(settings, model="no-such-network"), "E_MODEL_NOT_FOUND"),
        (replace(settings, device="mps"), "E_DEVICE"),
    ):
        yield active(document, node)
        start(wrong)
        yield idle
        error = state.extension.last_error
        assert error is not None, f"{code} expected"
        assert error.code == code, error.code
        yield 0.2
        assert close_messages(), "nobody said what was wrong"
        assert (document.width(), names(document)) == (300, ["Photo"])


def case_screen_and_backlit():
    pixels = {}
    for medium in ("matte", "backlit", "screen"):
        document, node, data, layout, rect = make("rgba_u8")
        yield active(document, node)
        settings = replace(SETTINGS, medium=medium)
        wanted = replace(SETTINGS, medium="none") if medium == "screen" else settings
        answer = ask_server(data, layout, rect, SIZE, wanted)
        yield arrived(answer)
        yield from run_job(settings)
        got = read_sheet(document, found(document, "Photo for print"))
        assert got == answer["pixels"], f"{medium}: {difference(got, answer['pixels'])}"
        pixels[medium] = got
    assert len(set(pixels.values())) == 3, "the media are sharpened alike"


def case_pixels_that_are_not_square():
    """144 x 72 ppi: 48 x 36 px are 1/3 x 1/2 inch, and so is the print."""
    document, node, data, layout, rect = make("rgba_u8")
    document.setXRes(144.0)
    document.waitForDone()
    yield active(document, node)
    assert (document.xRes(), document.yRes()) == (144.0, 72.0), "Krita keeps both"
    before = snapshot(document)
    answer = ask_server(data, layout, rect, SIZE, SETTINGS, resolution=(144.0, 72.0))
    yield arrived(answer)
    yield from run_job(SETTINGS)
    assert (document.width(), document.height()) == (96, 144)
    assert (document.xRes(), document.yRes()) == (200.0, 200.0)
    got = read_sheet(document, found(document, "Photo for print"))
    assert got == answer["pixels"], difference(got, answer["pixels"])
    for _step in range(2):
        yield from undo(document)
    assert snapshot(document) == before


def case_refusals():
    document, node, _data, _layout, _rect = make("rgba_u8")
    yield active(document, node)
    before = snapshot(document)
    for settings in (
        replace(SETTINGS, width=48.0 * 70),
        replace(SETTINGS, source="selection"),
    ):
        state.extension.enhance(settings)
        assert state.extension.running is None
        assert state.extension.last_error is not None
        yield 0.2
    texts = close_messages()
    assert texts
    assert not any("Traceback" in text for text in texts)
    assert snapshot(document) == before


# -- while it runs ------------------------------------------------------------


def large(width, height):
    """A 16-bit document that takes the server a while."""
    model, depth, profile, _layout = KINDS["rgba_u16"]
    document = krita.createDocument(width, height, "big", model, depth, profile, 72.0)
    krita.activeWindow().addView(document)
    node = document.rootNode().childNodes()[0]
    noise = bytes(range(256)) * (width * height * 8 // 256 + 1)
    node.setPixelData(noise[: width * height * 8], 0, 0, width, height)
    document.refreshProjection()
    yield active(document, node)
    yield 0.5
    document.setModified(False)
    return document


def case_cancel_by_its_button():
    """A click on Cancel: the server drops the job at once, the document keeps its very bits."""
    document = yield from large(900, 700)
    before = snapshot(document)
    drive.driver.longest_gap_s = 0.0
    start(replace(SETTINGS, width=3600.0))
    window = state.extension.window
    yield lambda: window.value() > 0 and "tile" in window.labelText()
    window.grab().save(str(SHOTS / "krita-progress.png"))
    yield 0.5
    gap = drive.driver.longest_gap_s
    button = window.findChildren(QPushButton)[0]
    assert button.isVisible()
    assert button.text().replace("&", "") == "Cancel"
    watch = Watch()
    began = time.monotonic()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    yield idle
    closed = time.monotonic() - began
    yield lambda: watch.idle_after_s is not None
    assert type(state.extension.last_error).__name__ == "Cancelled"
    assert watch.idle_after_s < 2.0, f"the server went on for {watch.idle_after_s:.2f} s"
    assert gap < 0.25, f"Krita's event loop was away for {gap:.2f} s"
    yield 0.3
    assert not window.isVisible()
    assert snapshot(document) == before
    assert not document.modified(), "the document counts as changed"
    assert not close_messages(), "nobody needs to be told of what they did"
    return {
        "cancel_s": round(watch.idle_after_s, 3),
        "closed_s": round(closed, 3),
        "longest_gap_s": round(gap, 3),
    }


def case_cancel_at_the_last_moment():
    """The whole result is there, the document is about to be changed: Cancel still counts."""
    document, node, _data, _layout, _rect = make("rgba_u8")
    yield active(document, node)
    before = snapshot(document)
    start(SETTINGS)
    job, heard = state.extension.running, []
    tell = job._on_progress

    def tell_and_cancel(news):
        tell(news)
        heard.append(state.extension.window.labelText())
        state.extension.window.findChildren(QPushButton)[0].click()

    job._on_progress = tell_and_cancel
    yield idle
    assert heard == ["Putting the print into the document…"], heard
    assert type(state.extension.last_error).__name__ == "Cancelled"
    yield 0.3
    assert snapshot(document) == before


def case_krita_stays_responsive():
    """A whole job of 3 megapixels up and 12 down, without a network: nothing but traffic."""
    document = yield from large(2000, 1500)
    settings = replace(SETTINGS, width=1999.0, medium="none", result="new-image")
    start(settings)
    job = state.extension.running
    finish, gaps = job._finish, []

    def finish_noting_the_gap():
        gaps.append(drive.driver.longest_gap_s)
        finish()

    job._finish = finish_noting_the_gap
    drive.driver.longest_gap_s = 0.0
    yield idle
    ended_well()
    assert gaps[0] < 0.25, f"Krita's event loop was away for {gaps[0]:.2f} s"
    assert document.width() == 2000
    return {"longest_gap_s": round(gaps[0], 3)}


def case_two_jobs_in_a_row():
    document, node, _data, _layout, _rect = make("rgba_u8")
    yield active(document, node)
    yield from run_job(SETTINGS)
    yield active(document, document.rootNode().childNodes()[1])
    yield from run_job(replace(SETTINGS, width=120.0))
    assert (document.width(), document.height()) == (120, 90)
    assert names(document) == ["Photo", "Photo for print", "Photo for print for print"]


def case_layer_removed_meanwhile():
    document, node, _data, _layout, _rect = make("rgba_u8")
    other = document.createNode("Other", "paintlayer")
    document.rootNode().addChildNode(other, node)
    yield active(document, node)
    start(SETTINGS)
    node.remove()
    yield idle
    assert "removed meanwhile" in str(state.extension.last_error), state.extension.last_error
    yield 0.2
    assert close_messages()
    assert (document.width(), names(document)) == (48, ["Other"])


def case_menus():
    yield 0.5
    window = krita.activeWindow().qwindow()
    for name, neighbour in (
        ("wallprint_enhance", "imagesize"),
        ("wallprint_sharpen_selection", "filter_apply_again"),
    ):
        action, known = krita.action(name), krita.action(neighbour)
        menus = [menu for menu in window.findChildren(QMenu) if action in menu.actions()]
        assert any(known in menu.actions() for menu in menus), f"{name} is not beside {neighbour}"
        assert len(menus) == 2, "Tools > Scripts has it as well"


run_cases(extension, globals())  # noqa: F821 - given by the plug-in

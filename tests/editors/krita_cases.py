"""Cases that run inside the real Krita.

As in gimp_cases.py: what the plug-in must deliver is asked of the server directly, with bytes that
the case made itself and a layout that it writes down itself.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from dataclasses import replace
from pathlib import Path

HERE = Path(os.environ["WALLPRINT_TEST_HERE"])
BASE = Path(os.environ["WALLPRINT_TEST_BASE"])
sys.path.insert(0, str(HERE))

from krita import InfoObject, Krita, Selection
from krita_drive import drive

from wallprint_protocol import client
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings, layer_job, make_plan
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request

try:
    from PyQt6.QtWidgets import QMenu, QMessageBox, QPushButton
except ImportError:
    from PyQt5.QtWidgets import QMenu, QMessageBox, QPushButton

krita = Krita.instance()
SRGB = "sRGB-elle-V2-srgbtrc.icc"
SIZE = Size(48, 36)
SETTINGS = Settings(width=96.0, unit="px", repair=0, deblur=0)
KINDS = {
    "rgba_u8": ("RGBA", "U8", SRGB, ("BGRA", "u8", "straight", "perceptual")),
    "rgba_u16": ("RGBA", "U16", SRGB, ("BGRA", "u16", "straight", "perceptual")),
    "rgba_f16": ("RGBA", "F16", "sRGB-elle-V2-g10.icc", ("RGBA", "f16", "straight", "linear")),
    "rgba_f32": ("RGBA", "F32", "sRGB-elle-V2-g10.icc", ("RGBA", "f32", "straight", "linear")),
    "cmyka_u8": ("CMYKA", "U8", "", ("CMYKA", "u8", "straight", "perceptual")),
    "graya_u8": ("GRAYA", "U8", "", ("GRAYA", "u8", "straight", "perceptual")),
}


def samples(width, height, channels, dtype):
    """A picture with edges, ramps and a transparent corner, as bytes of the dtype."""
    values = []
    for y in range(height):
        for x in range(width):
            ramp, edge = x / (width - 1), 0.85 if (x // 8 + y // 8) % 2 else 0.2
            colour = [edge, ramp, y / (height - 1), 0.3][: channels - 1]
            values += [*colour, 0.0 if x < 6 and y < 6 else 1.0]
    if dtype == "u8":
        return bytes(round(v * 255) for v in values)
    if dtype == "u16":
        return struct.pack(f"<{len(values)}H", *(round(v * 65535) for v in values))
    return struct.pack(f"<{len(values)}{'e' if dtype == 'f16' else 'f'}", *values)


def make(kind, rect=None, canvas=SIZE):
    """Document with one layer of known bytes; yields nothing, the view comes at once."""
    model, depth, profile, layout = KINDS[kind]
    layout = PixelLayout(*layout)
    rect = rect or Rect(0, 0, canvas.width, canvas.height)
    profiles = krita.profiles(model, depth)
    if not profile:
        profile = next((p for p in profiles if "srgbtrc" in p), sorted(profiles)[0])
    document = krita.createDocument(
        canvas.width, canvas.height, "case", model, depth, profile, 72.0
    )
    node = document.createNode("Photo", "paintlayer")
    data = samples(rect.width, rect.height, layout.channels, layout.dtype)
    node.setPixelData(data, rect.x, rect.y, rect.width, rect.height)
    assert read(node, rect) == data
    for other in document.rootNode().childNodes():
        other.remove()
    document.rootNode().addChildNode(node, None)
    krita.activeWindow().addView(document)
    document.setActiveNode(node)
    document.refreshProjection()
    document.waitForDone()
    return document, node, data, layout, rect


def active(document, node):
    """Condition: Krita has made this node the active one."""

    def ready():
        if krita.activeDocument() != document:
            return False
        now = document.activeNode()
        if now is None or now.name() != node.name():
            document.setActiveNode(node)
            return False
        return True

    return ready


def read(node, rect):
    return bytes(node.pixelData(rect.x, rect.y, rect.width, rect.height))


def strips(data, width, bytes_per_pixel):
    row = width * bytes_per_pixel
    return lambda rect: data[rect.y * row : (rect.y + rect.height) * row]


def ask_server(data, layout, rect, canvas, settings, mask=None):
    """In a thread, as the server's answer must not be waited for here; a dict that fills itself."""
    plan = make_plan(canvas, settings)
    job = layer_job(plan, rect)
    answer = {"job": job}
    request = Request.build(
        rect.size,
        layout,
        job.placement,
        selection=PixelLayout("GRAY", "u8") if mask is not None else None,
        **settings.job_options(plan),
    )

    def work():
        parts = []
        try:
            client.enhance(
                request,
                strips(data, rect.width, layout.bytes_per_pixel),
                lambda _rect, pixels: parts.append(bytes(pixels)),
                read_selection=strips(mask, rect.width, 1) if mask is not None else None,
            )
        finally:
            answer["pixels"] = b"".join(parts)

    threading.Thread(target=work).start()
    return answer


def arrived(answer):
    return lambda: "pixels" in answer


def idle():
    return extension.running is None  # noqa: F821 - given by the plug-in


def start(settings):
    extension.enhance(settings)  # noqa: F821
    assert extension.running is not None, str(extension.last_error)  # noqa: F821


def ended_well():
    error = extension.last_error  # noqa: F821
    assert error is None, f"{type(error).__name__}: {error}"


def names(document):
    return [node.name() for node in document.rootNode().childNodes()]


def difference(got, expected):
    if len(got) != len(expected):
        return f"{len(got)} bytes, {len(expected)} expected"
    wrong = [i for i, (a, b) in enumerate(zip(got, expected)) if a != b]
    return f"{len(wrong)} of {len(got)} bytes differ, first at {wrong[:5]}"


def undo():
    krita.action("edit_undo").trigger()


# -- the cases ----------------------------------------------------------------


def enlarged(kind):
    """The common case: one layer as large as the canvas, then undo."""
    document, node, data, layout, rect = make(kind)
    yield active(document, node)
    profile = document.colorProfile()
    answer = ask_server(data, layout, rect, SIZE, SETTINGS)
    yield arrived(answer)
    start(SETTINGS)
    yield idle
    ended_well()
    yield 0.3
    assert (document.width(), document.height(), document.resolution()) == (96, 72, 200)
    assert names(document) == ["Photo", "Photo for print"]
    new = document.rootNode().childNodes()[1]
    assert new.colorProfile() == profile
    assert (new.colorModel(), new.colorDepth()) == (node.colorModel(), node.colorDepth())
    got = read(new, Rect(0, 0, 96, 72))
    assert got == answer["pixels"], difference(got, answer["pixels"])
    assert len(set(got)) > 8, "the result is flat"
    for _step in range(2):
        undo()
        yield 0.6
    assert (document.width(), document.resolution(), names(document)) == (48, 72, ["Photo"])
    assert read(node, rect) == data, "undo does not bring the pixels back"


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


def case_new_image():
    document, node, data, layout, rect = make("rgba_u16")
    yield active(document, node)
    settings = replace(SETTINGS, result="new-image")
    answer = ask_server(data, layout, rect, SIZE, settings)
    yield arrived(answer)
    start(settings)
    yield idle
    ended_well()
    yield 0.3
    assert (document.width(), names(document)) == (48, ["Photo"]), "the source changed"
    assert read(node, rect) == data
    made = next(one for one in krita.documents() if one.width() == 96)
    assert (made.height(), made.resolution(), made.colorProfile()) == (72, 200, SRGB)
    assert names(made) == ["Photo for print"]
    got = read(made.rootNode().childNodes()[0], Rect(0, 0, 96, 72))
    assert got == answer["pixels"], difference(got, answer["pixels"])
    made.setBatchmode(True)
    path = str(BASE / "krita.png")
    assert made.exportImage(path, InfoObject())
    head = Path(path).read_bytes()[:33]
    assert struct.unpack(">II", head[16:24]) == (96, 72)
    assert head[24] == 16, "16 bits a channel"


def case_layer_larger_than_canvas():
    rect = Rect(-9, -6, 70, 50)
    document, node, data, layout, rect = make("rgba_u8", rect)
    yield active(document, node)
    answer = ask_server(data, layout, rect, SIZE, SETTINGS)
    yield arrived(answer)
    start(SETTINGS)
    yield idle
    ended_well()
    assert (document.width(), document.height()) == (96, 72)
    assert answer["job"].offset == (-18, -12)
    new = document.rootNode().childNodes()[1]
    got = read(new, Rect(-18, -12, 140, 100))
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
    start(SETTINGS)
    yield idle
    ended_well()
    new = document.rootNode().childNodes()[1]
    x, y = answer["job"].offset
    out = answer["job"].placement.out
    got = read(new, Rect(x, y, out.width, out.height))
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
    start(SETTINGS)
    yield idle
    ended_well()
    assert names(document) == ["Group", "Group for print"]
    got = read(document.rootNode().childNodes()[1], Rect(0, 0, 96, 72))
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
    start(SETTINGS)
    yield idle
    ended_well()
    new = next(n for n in document.rootNode().childNodes() if n.name() == "Vector for print")
    bounds = new.bounds()
    assert bounds.width() > 10, "the vector layer came out empty"
    x, y = bounds.x() + bounds.width() // 2, bounds.y() + bounds.height() // 2
    assert read(new, Rect(x, y, 1, 1)) == b"\x00\x00\xff\xff", "red, as B, G, R, A"


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
    start(settings)
    yield idle
    ended_well()
    new = next(n for n in document.rootNode().childNodes() if n.name() == "Photo for print")
    got = read(new, Rect(0, 0, 96, 72))
    assert got == answer["pixels"], difference(got, answer["pixels"])
    assert got != whole["pixels"], "the selection made no difference"


def case_sharpen_selection():
    document, node, data, _layout, rect = make("rgba_u16")
    selection = Selection()
    selection.select(12, 8, 20, 16, 255)
    document.setSelection(selection)
    yield active(document, node)
    settings = Settings(deblur=0, feather_mm=0.0, strength="high")
    extension.sharpen(settings, 12.0)  # noqa: F821
    yield idle
    ended_well()
    yield 0.3
    assert (document.width(), document.height()) == (48, 36)
    new = next(n for n in document.rootNode().childNodes() if n.name() == "Photo sharpened")
    assert read(node, rect) == data, "the layer itself is untouched"
    after = read(new, rect)
    changed = {i // 8 for i, (a, b) in enumerate(zip(data, after)) if a != b}
    assert len(changed) > 60, "nothing was sharpened"
    outside = [p for p in changed if not (12 <= p % 48 < 32 and 8 <= p // 48 < 24)]
    assert not outside, f"{len(outside)} pixels outside the selection changed: {outside[:4]}"
    undo()
    yield 0.6
    assert "Photo sharpened" not in names(document), "one undo step"


def case_refusals():
    document, node, data, _layout, rect = make("rgba_u8")
    yield active(document, node)
    for settings in (
        replace(SETTINGS, width=48.0 * 70),
        replace(SETTINGS, source="selection"),
    ):
        extension.enhance(settings)  # noqa: F821
        assert extension.running is None  # noqa: F821
        assert extension.last_error is not None  # noqa: F821
        yield 0.2
    for box in krita.activeWindow().qwindow().findChildren(QMessageBox):
        assert "Traceback" not in box.text()
        box.close()
    assert (document.width(), names(document), read(node, rect)) == (48, ["Photo"], data)


def case_cancel_and_responsiveness():
    """A large job: the event loop is never away for long; Cancel leaves everything as it was."""
    canvas = Size(900, 700)
    model, depth, profile, _layout = KINDS["rgba_u16"]
    document = krita.createDocument(900, 700, "big", model, depth, profile, 72.0)
    krita.activeWindow().addView(document)
    node = document.rootNode().childNodes()[0]
    noise = bytes(range(256)) * (900 * 700 * 8 // 256 + 1)
    node.setPixelData(noise[: 900 * 700 * 8], 0, 0, 900, 700)
    document.refreshProjection()
    yield active(document, node)
    yield 0.5
    before = read(node, Rect(0, 0, 900, 700))
    drive.driver.longest_gap_s = 0.0
    start(replace(SETTINGS, width=3600.0))
    window = extension.window  # noqa: F821
    yield lambda: window.value() > 0 and "tile" in window.labelText()
    window.grab().save(str(BASE / "shots" / "krita-progress.png"))
    yield 1.0
    gap = drive.driver.longest_gap_s
    assert gap < 0.25, f"Krita's event loop was away for {gap:.2f} s"
    window.findChildren(QPushButton)[0].click()
    yield idle
    assert type(extension.last_error).__name__ == "Cancelled"  # noqa: F821
    assert (document.width(), document.resolution(), canvas.width) == (900, 72, 900)
    assert len(document.rootNode().childNodes()) == len(names(document)) == 1
    assert read(node, Rect(0, 0, 900, 700)) == before
    return {"longest_gap_s": round(gap, 3)}


def case_two_jobs_in_a_row():
    document, node, _data, _layout, _rect = make("rgba_u8")
    yield active(document, node)
    start(SETTINGS)
    yield idle
    ended_well()
    yield active(document, document.rootNode().childNodes()[1])
    start(replace(SETTINGS, width=120.0))
    yield idle
    ended_well()
    assert (document.width(), document.height()) == (120, 90)
    assert names(document) == ["Photo", "Photo for print", "Photo for print for print"]


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


def case_dialogs_open():
    krita.setBatchmode(True)
    photo = krita.openDocument(str(BASE / "photo.png"))
    krita.setBatchmode(False)
    krita.activeWindow().addView(photo)
    yield active(photo, photo.rootNode().childNodes()[0])
    krita.action("wallprint_enhance").trigger()
    yield 0.5
    dialog = extension.dialog  # noqa: F821
    assert dialog.isVisible()
    assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
    dialog._width.setValue(20.0)
    yield 0.2
    assert "1575 × 1181 px" in dialog._pixels.text(), dialog._pixels.text()
    dialog._preview.compute(0.5, 0.45)
    yield lambda: dialog._preview._pictures is not None
    yield 0.3
    dialog.grab().save(str(BASE / "shots" / "krita-dialog.png"))
    before, after = (p.toImage() for p in dialog._preview._pictures)
    assert (after.width(), after.height()) == (400, 220)
    assert before != after, "before and after are the same"
    dialog._width.setValue(20000.0)
    yield 0.2
    assert not dialog.ok_button.isEnabled()
    assert dialog.refusal_line.text()
    dialog.reject()
    yield 0.2
    assert photo.width() == 320
    krita.action("wallprint_sharpen_selection").trigger()
    yield 0.3
    assert not extension.dialog.ok_button.isEnabled(), "there is no selection"  # noqa: F821
    extension.dialog.grab().save(str(BASE / "shots" / "krita-sharpen.png"))  # noqa: F821
    extension.dialog.reject()  # noqa: F821


(BASE / "shots").mkdir(exist_ok=True)
drive([value for key, value in list(globals().items()) if key.startswith("case_")])

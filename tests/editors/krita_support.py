"""What the scripts that run inside Krita share: documents of known bytes, and the server's answer.

What the plug-in must deliver is asked of the server directly, with bytes that the case made itself
and a layout that it writes down itself.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

HERE = Path(os.environ["WALLPRINT_TEST_HERE"])
BASE = Path(os.environ["WALLPRINT_TEST_BASE"])
SHOTS = BASE / "shots"
SHOTS.mkdir(exist_ok=True)
sys.path.insert(0, str(HERE))

from krita import Krita
from krita_drive import drive

from wallprint_protocol import client
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings, layer_job, make_plan
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request

try:
    from PyQt6.QtWidgets import QMessageBox
except ImportError:
    from PyQt5.QtWidgets import QMessageBox

state = SimpleNamespace(extension=None)  # set by the script: what the plug-in gave it
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
    "cmyka_u16": ("CMYKA", "U16", "", ("CMYKA", "u16", "straight", "perceptual")),
    "graya_u8": ("GRAYA", "U8", "", ("GRAYA", "u8", "straight", "perceptual")),
    "graya_u16": ("GRAYA", "U16", "", ("GRAYA", "u16", "straight", "perceptual")),
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


def read_sheet(document, node):
    """What lies on the canvas."""
    return read(node, Rect(0, 0, document.width(), document.height()))


def strips(data, width, bytes_per_pixel):
    row = width * bytes_per_pixel
    return lambda rect: data[rect.y * row : (rect.y + rect.height) * row]


def ask_server(data, layout, rect, canvas, settings, mask=None, resolution=(1, 1)):
    """In a thread, as the server's answer must not be waited for here; a dict that fills itself."""
    plan = make_plan(canvas, settings, resolution=resolution)
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
    return state.extension.running is None


def start(settings):
    state.extension.enhance(settings)
    assert state.extension.running is not None, str(state.extension.last_error)


def ended_well():
    error = state.extension.last_error
    assert error is None, f"{type(error).__name__}: {error}"


def names(document):
    return [node.name() for node in document.rootNode().childNodes()]


def difference(got, expected):
    if len(got) != len(expected):
        return f"{len(got)} bytes, {len(expected)} expected"
    wrong = [i for i, (a, b) in enumerate(zip(got, expected)) if a != b]
    return f"{len(wrong)} of {len(got)} bytes differ, first at {wrong[:5]}"


def undo(document):
    """One step back; Krita does it in a stroke of its own."""
    yield from _history(document, "edit_undo")


def redo(document):
    yield from _history(document, "edit_redo")


def _history(document, action):
    krita.action(action).trigger()
    yield 0.3
    document.waitForDone()
    yield 0.2


def snapshot(document):
    """All of a document that a step of undo could bring back, with the nodes' very bits."""
    rows = [document.width(), document.height(), document.xRes(), document.yRes()]
    for node in document.rootNode().childNodes():
        bounds = node.bounds()
        rect = Rect(bounds.x(), bounds.y(), bounds.width(), bounds.height())
        look = (node.opacity(), node.blendingMode(), node.visible(), node.colorProfile())
        rows.append((node.uniqueId().toString(), node.name(), rect, look, read(node, rect)))
    return rows


def found(document, name):
    return next(node for node in document.rootNode().childNodes() if node.name() == name)


def run_job(settings):
    """Start, wait for the end, which must be a good one."""
    start(settings)
    yield idle
    ended_well()
    yield 0.3


class Watch:
    """Asks the server in a thread, every 10 ms, until it has no job any more."""

    def __init__(self):
        self.idle_after_s = None
        self._began = time.monotonic()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self):
        with client.connect(start=False) as link:
            while link.status()["jobs"]:
                time.sleep(0.01)
            self.idle_after_s = time.monotonic() - self._began


def close_messages():
    """The texts of the plug-in's message boxes, which are closed."""
    texts = []
    for box in krita.activeWindow().qwindow().findChildren(QMessageBox):
        if box.isVisible():
            texts.append(box.text())
        box.close()
    return texts


def run_cases(extension, scope):
    """Every `case_*` of a script."""
    state.extension = extension
    drive([value for key, value in list(scope.items()) if key.startswith("case_")])

"""Stands in for Krita under a bare Qt: hand-written `krita` module, then both dialogs are used.

    python krita_stand_in.py PyQt6|PyQt5

Not a test of Krita (tests/editors is) but of the Qt binding: names, enumerations, signals, events.
"""

from __future__ import annotations

import os
import sys
import time
import types
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace

BINDING = sys.argv[1]
for other in {"PyQt5", "PyQt6"} - {BINDING}:
    sys.modules[other] = None  # the plug-in takes the one that can be imported
QtCore, QtGui = import_module(f"{BINDING}.QtCore"), import_module(f"{BINDING}.QtGui")
QtTest, QtWidgets = import_module(f"{BINDING}.QtTest"), import_module(f"{BINDING}.QtWidgets")
QAction = QtGui.QAction if BINDING == "PyQt6" else QtWidgets.QAction
LEFT = QtCore.Qt.MouseButton.LeftButton


class Node:
    """A paint layer of 640 x 480 grey pixels."""

    def __init__(self, name="Photo", size=(640, 480)):
        self._name, self._size, self.written = name, size, []

    def type(self):
        return "paintlayer"

    def name(self):
        return self._name

    def uniqueId(self):
        return QtCore.QUuid()

    def bounds(self):
        return QtCore.QRect(0, 0, *self._size)

    def childNodes(self):
        return []

    def colorModel(self):
        return "RGBA"

    def colorDepth(self):
        return "U8"

    def colorProfile(self):
        return "sRGB"

    def pixelData(self, x, y, width, height):
        return QtCore.QByteArray(bytes([128]) * (width * height * 4))

    def setPixelData(self, data, x, y, width, height):
        self.written.append((len(data), x, y, width, height))

    def visible(self):
        return True

    def thumbnail(self, width, height):
        image = QtGui.QImage(width, height, QtGui.QImage.Format.Format_RGB32)
        image.fill(QtCore.Qt.GlobalColor.gray)
        return image


class Selected:
    """A selection of 20 x 10 px."""

    def x(self):
        return 5

    def y(self):
        return 6

    def width(self):
        return 20

    def height(self):
        return 10

    def pixelData(self, x, y, width, height):
        return QtCore.QByteArray(bytes([255]) * (width * height))


class Document:
    """One layer."""

    def __init__(self):
        self.node, self.chosen, self.annotations = Node(), None, {}

    def name(self):
        return "A document"

    def fileName(self):
        return ""

    def annotation(self, name):
        return self.annotations.get(name, QtCore.QByteArray())

    def setAnnotation(self, name, _description, value):
        self.annotations[name] = value

    def pixelData(self, x, y, width, height):
        return self.node.pixelData(x, y, width, height)

    def width(self):
        return 640

    def height(self):
        return 480

    def xRes(self):
        return 72.0

    def yRes(self):
        return 72.0

    def activeNode(self):
        return self.node

    def selection(self):
        return self.chosen

    def thumbnail(self, width, height):
        return self.node.thumbnail(width, height)

    def createNode(self, name, _kind):
        return Node(name)


class Window:
    """Has menus; makes actions."""

    def __init__(self):
        self.main = QtWidgets.QMainWindow()

    def qwindow(self):
        return self.main

    def createAction(self, name, text, _menu):
        return QAction(text, self.main)

    def activeView(self):
        return None


class Krita(QtCore.QObject):
    """The application."""

    one = None

    def __init__(self):
        super().__init__()
        self.settings, self.window, self.document = {}, Window(), Document()
        self.neighbour = QAction("Scale Image", self.window.main)
        self.window.main.menuBar().addMenu("Image").addAction(self.neighbour)

    @classmethod
    def instance(cls):
        return cls.one

    def addExtension(self, extension):
        self.extension = extension

    def activeDocument(self):
        return self.document

    def activeWindow(self):
        return self.window

    def action(self, _name):
        return self.neighbour

    def version(self):
        return "6.0"

    def readSetting(self, group, name, default):
        return self.settings.get((group, name), default)

    def writeSetting(self, group, name, value):
        self.settings[group, name] = value


def turn(until, limit_s=10.0):
    """Let Qt work until something is true."""
    end = time.monotonic() + limit_s
    while not until():
        assert time.monotonic() < end, "not reached in time"
        QtWidgets.QApplication.processEvents()
        time.sleep(0.005)


def fake_server(client):
    """Answers at once: grey pixels, one network, a processor."""

    @contextmanager
    def connect(**_more):
        yield SimpleNamespace(
            models=lambda: [{"id": "span-x4", "kind": "enlarge"}],
            status=lambda: {"version": "9.9"},
        )

    def enhance(request, read, write, **_more):
        size, layout = request.out, request.layout
        rect = import_module("wallprint_protocol.print_size").Rect(0, 0, size.width, size.height)
        write(rect, memoryview(bytes(size.pixels * layout.bytes_per_pixel)))
        detail = {"reach_cycles_per_px": 0.3, "edges": 4, "enlarged_before": 1.0}
        return client.Result((), {"device": "a CPU", "detail": detail}, 5)

    client.connect, client.enhance = connect, enhance


def main():
    app = QtWidgets.QApplication(["stand-in"])
    Krita.one = Krita()
    module = types.ModuleType("krita")
    module.Krita, module.Extension, module.InfoObject = Krita, QtCore.QObject, object
    sys.modules["krita"] = module
    package = import_module("wallprint_krita")
    assert import_module("wallprint_krita.qt").QLabel.__module__.startswith(BINDING)
    from wallprint_protocol import client
    from wallprint_protocol.print_plan import Settings

    fake_server(client)
    extension = Krita.one.extension
    extension.createActions(Krita.one.window)
    turn(lambda: len(Krita.one.neighbour.associatedObjects() if BINDING == "PyQt6"
                     else Krita.one.neighbour.associatedWidgets()) > 0)  # fmt: skip
    use_enhance(extension, Settings)
    use_sharpen(extension, Settings)
    use_proof(extension, Settings)
    use_progress(extension, client)
    import_module("wallprint_krita.extension")._tell("A sentence.")
    assert package.__name__ == "wallprint_krita"
    app.processEvents()
    print(f"{BINDING} {QtCore.PYQT_VERSION_STR}: all used")


def use_enhance(extension, Settings):
    started = []
    extension.enhance = lambda *a: started.append(a)
    extension.ask_enhance()
    dialog = extension.dialog
    assert dialog.isVisible()
    assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
    wanted = Settings(
        width=12.0, height=8.0, unit="in", ppi=240.0, fit="crop", edges="bleed", edge_mm=4.5,
        distance_cm=50.0, repair=30, deblur=0, medium="screen", result="new-image", tile_px=128,
        printer="360", model="span-x4", device="cpu", strength="low", halo_mm=0.4, spread_mm=0.05,
        anchor="top",
        orientation="landscape", panel_rows=2, panel_columns=2, overlap_mm=8.0, crop_marks=True,
    )  # fmt: skip
    dialog.set_settings(wanted)
    assert dialog.settings() == wanted, dialog.settings()
    turn(lambda: not dialog._measure.running)
    assert "honest up to" in dialog._summary.text("detail"), dialog._summary.text("detail")
    use_preview(dialog._preview)
    use_colour(dialog._paper.colour)
    dialog._tabs.setCurrentWidget(dialog._advanced)
    test = dialog._advanced._test
    assert test.button.isVisible()
    QtTest.QTest.mouseClick(test.button, LEFT)
    turn(test.button.isEnabled)
    assert test.line.text() == "wallprint 9.9 answers and computes on a CPU.", test.line.text()
    dialog._unit.setCurrentIndex(0)
    assert abs(dialog._width.value() - 30.48) < 0.01
    dialog._tabs.setCurrentIndex(0)
    slider = dialog._repair._slider
    slider.setValue(70)
    assert dialog.settings().repair == 70
    QtTest.QTest.keyClick(dialog._ppi, QtCore.Qt.Key.Key_Up)
    assert dialog.settings().ppi == 241.0
    dialog.show_help()
    dialog._help.close()
    dialog.set_settings(wanted)
    QtTest.QTest.mouseClick(dialog.ok_button, LEFT)
    assert started == [(wanted,)], started
    extension.ask_enhance()
    assert extension.dialog.settings() == wanted, "remembered"
    QtTest.QTest.mouseClick(
        extension.dialog._buttons.button(QtWidgets.QDialogButtonBox.StandardButton.RestoreDefaults),
        LEFT,
    )
    assert extension.dialog.settings().ppi == 200.0
    extension.dialog.reject()


def use_colour(colour):
    """Picked in the colour dialog."""
    colour._pick()
    colour._dialog.colorSelected.emit(QtGui.QColor("#123456"))
    colour._dialog.close()
    assert colour.value() == "#123456", colour.value()


def use_preview(preview):
    """A click, a drag, the line; each by an event of the mouse."""
    QtTest.QTest.mouseClick(preview._thumb, LEFT, pos=QtCore.QPoint(30, 20))
    turn(lambda: preview._pictures is not None)
    asked = []
    preview._thumb._on_point = lambda x, y: asked.append((round(x, 2), round(y, 2)))
    for kind in (QtCore.QEvent.Type.MouseButtonPress, QtCore.QEvent.Type.MouseMove):
        point = QtCore.QPointF(70.0, 35.0)
        event = QtGui.QMouseEvent(
            kind, point, preview._thumb.mapToGlobal(point.toPoint())
            if BINDING == "PyQt5" else preview._thumb.mapToGlobal(point),
            LEFT, LEFT, QtCore.Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        QtWidgets.QApplication.sendEvent(preview._thumb, event)
    width, height = preview._thumb.pixmap().width(), preview._thumb.pixmap().height()
    assert asked == [(round(70 / width, 2), round(35 / height, 2))] * 2, asked
    QtTest.QTest.mouseClick(preview._spot, LEFT, pos=QtCore.QPoint(300, 100))
    assert preview._split > 0.6, preview._split


def use_sharpen(extension, Settings):
    started = []
    extension.sharpen = lambda *a: started.append(a)
    Krita.one.document.chosen = Selected()
    extension.ask_sharpen()
    dialog = extension.dialog
    assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
    dialog.set_settings(Settings(deblur=20, distance_cm=80.0), {"length_mm": 700.0})
    QtTest.QTest.mouseClick(dialog.ok_button, LEFT)
    assert started == [(Settings(deblur=20, distance_cm=80.0), 700.0)], started
    Krita.one.document.chosen = None


def use_proof(extension, Settings):
    """From the other dialog, with its values."""
    started = []
    extension.proof = lambda *a: started.append(a)
    extension.ask_enhance()
    extension.dialog.set_defaults()
    extension.dialog._ppi.setValue(300)
    extension.dialog._halo.set_values(Settings(halo_mm=0.35, spread_mm=0.05))
    QtTest.QTest.mouseClick(extension.dialog.proof_button, LEFT)
    dialog = extension.dialog
    assert dialog.windowTitle() == "Make a Proof Sheet"
    assert dialog.ok_button.isEnabled(), dialog.refusal_line.text()
    assert "300 ppi" in dialog._how.text(), dialog._how.text()
    assert "Halo 0.35 mm" in dialog._print.text(), dialog._print.text()
    dialog._paper.setCurrentIndex(1)
    dialog._strengths.setChecked(True)
    dialog._file.setText("/tmp/sheet.pdf")
    QtTest.QTest.mouseClick(dialog.ok_button, LEFT)
    ((settings, files, paper, strengths),) = started
    assert (settings.ppi, paper, strengths) == (300.0, "letter", True)
    assert (settings.halo_mm, settings.spread_mm) == (0.35, 0.05)
    assert [str(path) for path in files] == ["/tmp/sheet.pdf", "/tmp/sheet.tif"]
    extension.ask_proof()
    assert extension.dialog.settings().ppi == 300.0, "the print's values were not kept"
    assert extension.dialog.extra()["paper"] == "letter"
    extension.dialog.reject()


def use_progress(extension, client):
    """The progress window with a job that waits for its Cancel."""
    cancelled = []
    job = SimpleNamespace(cancel=lambda: cancelled.append(True))
    extension._start(lambda: SimpleNamespace(job=job, undo_steps=2), "A title")
    extension._progress("Starting the wallprint server ...")
    extension._progress(client.Progress("run", 3, 10, eta_s=12.0))
    window = extension.window
    assert (window.value(), window.maximum()) == (3, 10)
    assert "tile 3 of 10" in window.labelText()
    QtTest.QTest.mouseClick(window.findChildren(QtWidgets.QPushButton)[0], LEFT)
    assert cancelled == [True]
    extension._end(None, None)
    assert extension.last_message.endswith("undo 2 times.")
    assert extension.message.isVisible()
    pressed = []
    made = SimpleNamespace(passport=object(), kept=SimpleNamespace(whole=True), job=job)
    extension.report = pressed.append
    extension._start(lambda: SimpleNamespace(made=made, job=job), "A title")
    assert extension.message is None, "what was said of the last job stands there still"
    extension._end(["/tmp/a_r1c1.tif", "/tmp/a_r1c2.tif"], None)
    assert extension.last_message == "2 files are there, /tmp/a_r1c1.tif to /tmp/a_r1c2.tif."
    texts = [button.text().replace("&", "") for button in extension.message.buttons]
    assert texts == ["Open", "Show Report", "Save for Printing…"], texts
    QtTest.QTest.mouseClick(extension.message.buttons[1], LEFT)
    assert pressed == [made]
    assert extension.message is None


if __name__ == "__main__":
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    main()

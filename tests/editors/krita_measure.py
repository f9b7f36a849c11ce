"""Runs inside Krita for benchmarks/editors.py: dialog, print and cancel with a large layer.

Says how long it took, what Krita's process needed, how long its event loop was away at most, and
the checksum of the pixels.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from array import array

sys.path.insert(0, os.environ["WALLPRINT_TEST_HERE"])

from krita_drive import drive
from krita_support import SRGB, Watch, active, ended_well, found, idle, krita, run_cases, state

from wallprint_protocol.print_plan import Settings

try:
    from PyQt6.QtCore import Qt
    from PyQt6.QtTest import QTest
    from PyQt6.QtWidgets import QPushButton
except ImportError:
    from PyQt5.QtCore import Qt
    from PyQt5.QtTest import QTest
    from PyQt5.QtWidgets import QPushButton

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
ROWS = 256


class Memory(threading.Thread):
    """Resident memory of this process, sampled."""

    def __init__(self):
        super().__init__(daemon=True)
        self.first_mib = self.peak_mib = self.now()
        self.running = True
        self.start()

    def now(self):
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * PAGE / MIB

    def run(self):
        while self.running:
            self.peak_mib = max(self.peak_mib, self.now())
            time.sleep(0.02)


def checksum(document, node):
    """sha256 of R, G, B of 16 bits, native byte order."""
    digest, width = hashlib.sha256(), document.width()
    for top in range(0, document.height(), ROWS):
        rows = min(ROWS, document.height() - top)
        source, wanted = array("H"), array("H", bytes(6 * width * rows))
        source.frombytes(bytes(node.pixelData(0, top, width, rows)))
        for channel, place in enumerate((2, 1, 0)):  # Krita has B, G, R, A
            wanted[channel::3] = source[place::4]
        digest.update(wanted)
    return digest.hexdigest()


def case_print():
    krita.setBatchmode(True)
    document = krita.openDocument(os.environ["WALLPRINT_PICTURE"])
    krita.setBatchmode(False)
    document.setColorProfile(SRGB)
    krita.activeWindow().addView(document)
    node = document.rootNode().childNodes()[0]
    yield active(document, node)
    yield 2.0
    memory = Memory()
    began = time.monotonic()
    state.extension.enhance(Settings(width=float(os.environ.get("WALLPRINT_WIDTH_CM", "100"))))
    job, noted = state.extension.running, {}
    assert job is not None, str(state.extension.last_error)
    finish = job._finish

    def finish_noting():
        memory.running = False
        noted.update(seconds=time.monotonic() - began, gap_s=drive.driver.longest_gap_s)
        finish()
        noted["finish_s"] = time.monotonic() - began - noted["seconds"]

    job._finish = finish_noting
    drive.driver.longest_gap_s = 0.0
    yield idle
    ended_well()
    yield 0.5
    made = found(document, f"{node.name()} for print")
    print_bytes = document.width() * document.height() * 8
    return {
        "seconds": noted["seconds"],
        "worker_s": state.extension.last_result.ms / 1000,
        "finish_s": noted["finish_s"],
        "longest_gap_s": noted["gap_s"],
        "sha256": checksum(document, made),
        "size": [document.width(), document.height()],
        "start_mib": memory.first_mib,
        "peak_mib": memory.peak_mib,
        "result_mib": print_bytes / MIB,
    }


def case_dialog():
    """Until the dialog is there, until the true detail is, and what a changed value costs."""
    krita.setBatchmode(True)
    document = krita.openDocument(os.environ["WALLPRINT_PICTURE"])
    krita.setBatchmode(False)
    document.setColorProfile(SRGB)
    krita.activeWindow().addView(document)
    yield active(document, document.rootNode().childNodes()[0])
    yield 2.0
    began = time.monotonic()
    state.extension.ask_enhance()
    dialog = state.extension.dialog
    opened_s = time.monotonic() - began
    yield 0.1
    drive.driver.longest_gap_s = 0.0
    yield lambda: not dialog._measure.running
    detail_s, gap_s = time.monotonic() - began, drive.driver.longest_gap_s
    assert "True detail" in dialog._summary.text("detail"), dialog._summary.text("detail")
    began = time.monotonic()
    for cm in range(60, 80):
        dialog._width.setValue(float(cm))
    value_s = (time.monotonic() - began) / 20
    dialog.reject()
    return {"opened_s": opened_s, "detail_s": detail_s, "gap_s": gap_s, "value_s": value_s}


def case_cancel():
    krita.setBatchmode(True)
    document = krita.openDocument(os.environ["WALLPRINT_PICTURE"])
    krita.setBatchmode(False)
    document.setColorProfile(SRGB)
    krita.activeWindow().addView(document)
    yield active(document, document.rootNode().childNodes()[0])
    state.extension.enhance(Settings())
    window = state.extension.window
    yield lambda: window.value() > 0 and "tile" in window.labelText()
    watch = Watch()
    QTest.mouseClick(window.findChildren(QPushButton)[0], Qt.MouseButton.LeftButton)
    yield lambda: watch.idle_after_s is not None
    yield idle
    return {"cancel_ms": 1000 * watch.idle_after_s}


run_cases(extension, globals())  # noqa: F821 - given by the plug-in

"""Drives cases inside Krita from its own event loop.

A case is a generator that yields seconds to wait, or a condition to wait for. Never a nested event
loop: in one, `activeNode()` stays None.
"""

from __future__ import annotations

import os
import sys
import time
import traceback

from case_runner import report
from krita import Krita

try:
    from PyQt6.QtCore import QTimer
except ImportError:
    from PyQt5.QtCore import QTimer

_LIMIT_S = float(os.environ.get("WALLPRINT_CASE_LIMIT_S", "90"))  # a busy machine is slow


class Driver:
    """Runs the cases one after the other, then quits Krita."""

    def __init__(self, cases):
        only = os.environ.get("WALLPRINT_CASES", "").split()
        self._cases = [c for c in cases if not only or c.__name__[5:] in only]
        self._steps, self._name, self._began = None, "", 0.0
        self.longest_gap_s = 0.0
        self._last_beat = time.monotonic()
        self._heart = QTimer()
        self._heart.timeout.connect(self._beat)
        self._heart.start(10)
        self._uncaught = ""
        sys.excepthook = self._note_uncaught  # Krita's own shows a window and waits
        self._next_case()

    def _note_uncaught(self, kind, value, trace):
        """An exception out of one of the plug-in's slots: the running case has failed."""
        self._uncaught = "".join(traceback.format_exception(kind, value, trace))

    def _beat(self):
        """Measures how long Krita's event loop was away."""
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self._last_beat)
        self._last_beat = now

    def _next_case(self):
        for document in Krita.instance().documents():
            document.setModified(False)
            document.close()
        if not self._cases:
            self._heart.stop()
            QTimer.singleShot(300, lambda: Krita.instance().action("file_quit").trigger())
            return
        case = self._cases.pop(0)
        self._name, self._began = case.__name__[5:], time.monotonic()
        self._steps = case()
        QTimer.singleShot(50, self._step)

    def _step(self, condition=None, until=0.0):
        try:
            if self._uncaught:
                text, self._uncaught = self._uncaught, ""
                raise AssertionError(text)
            if condition is not None and not condition():
                if time.monotonic() > until:
                    raise TimeoutError(
                        f"{condition.__qualname__} is not true, {_where(self._steps)}"
                    )
                QTimer.singleShot(20, lambda: self._step(condition, until))
                return
            wait = next(self._steps)
        except StopIteration as end:
            self._report(True, end.value or {}, "")
        except BaseException:
            self._report(False, {}, traceback.format_exc())
        else:
            if callable(wait):
                limit = time.monotonic() + _LIMIT_S
                QTimer.singleShot(20, lambda: self._step(wait, limit))
            else:
                QTimer.singleShot(int(wait * 1000), self._step)

    def _report(self, ok, facts, error):
        report(self._name, ok, facts, error, time.monotonic() - self._began)
        QTimer.singleShot(0, self._next_case)


def _where(steps):
    """The line at which a case waits."""
    while steps.gi_yieldfrom is not None:
        steps = steps.gi_yieldfrom
    return f"{steps.gi_code.co_name} at line {steps.gi_frame.f_lineno}"


def drive(cases):
    """Start; the driver is kept alive by this module."""
    drive.driver = Driver(cases)
    return drive.driver

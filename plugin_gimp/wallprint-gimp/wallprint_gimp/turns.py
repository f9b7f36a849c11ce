"""One job of a dialog at a time.

A job turns GTK's loop while it waits, and a second one, started from within that loop, would keep
the first from going on.
"""

from __future__ import annotations

from collections.abc import Callable

import gi

gi.require_version("Gtk", "3.0")
from gi.repository import GLib  # noqa: E402

Work = Callable[[], None]
_LOOK_MS = 20


class Turns:
    """Runs what is asked for, one after the other; what runs in the background makes way.

    Attributes:
        stopped: the dialog goes away; everything that runs ends soon.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._running = False
        self._asked: list[Work] = []
        self._background: Work | None = None

    def start(self, work: Work) -> None:
        """Run something that the user has asked for, as soon as nothing else runs."""
        self._asked.append(work)
        GLib.timeout_add(_LOOK_MS, self._next)

    def start_background(self, work: Work) -> None:
        """Run something when there is nothing else to do, in place of what waits for that."""
        self._background = work
        GLib.timeout_add(_LOOK_MS, self._next)

    def should_end(self, *, background: bool = False) -> bool:
        """What a job that runs has to look at all the time."""
        return self.stopped or (background and bool(self._asked))

    def _next(self) -> bool:
        if self.stopped:
            return False
        if self._running:
            return True
        if self._asked:
            work = self._asked.pop(0)
        elif self._background is not None:
            work, self._background = self._background, None
        else:
            return False
        self._running = True
        try:
            work()
        finally:
            self._running = False
        return bool(self._asked) or self._background is not None

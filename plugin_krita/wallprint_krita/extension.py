"""What Krita sees: two actions, their menus, and the progress window of a running job."""

from __future__ import annotations

import os
import runpy
import traceback

from krita import Extension, Krita

from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.print_plan import Settings

from . import remember
from .qt import QMenu, QMessageBox, QProgressDialog, QTimer
from .texts import N_, _, explain

ENHANCE, SHARPEN = "wallprint_enhance", "wallprint_sharpen_selection"
_TEST_SCRIPT = "WALLPRINT_KRITA_SCRIPT"
_PHASES = {
    "upload": N_("Sending the layer"),
    "queued": N_("Waiting: {count} jobs before this one"),
    "load": N_("Loading the network"),
    "run": N_("Enlarging, tile {done} of {total}"),
    "encode": N_("Packing the result"),
    "download": N_("Receiving the print"),
}


def register() -> None:
    """Make the extension known to Krita."""
    krita = Krita.instance()
    krita.addExtension(WallprintExtension(krita))


class WallprintExtension(Extension):
    """Both commands; at most one job at a time in this Krita."""

    def __init__(self, parent):
        super().__init__(parent)
        self.running = None  # what is under way: keeps the job alive
        self.last_error = self.last_result = None
        self.last_message = ""

    def setup(self):
        """Nothing to do before there is a window."""

    def createActions(self, window):
        """Tools > Scripts, and Image or Filter."""
        main_window = window.qwindow()  # lives longer than `window` itself
        for name, text, neighbour, command in (
            (ENHANCE, _("Enhance for Wall Print…"), "imagesize", self.ask_enhance),
            (SHARPEN, _("Sharpen Selection for Print…"), "filter_apply_again", self.ask_sharpen),
        ):
            action = window.createAction(name, text, "tools/scripts")
            action.triggered.connect(command)
            # The menus of a window are built after this call.
            QTimer.singleShot(0, lambda a=action, n=neighbour: _add_beside(main_window, n, a))
        script = os.environ.pop(_TEST_SCRIPT, None)
        if script:  # the tests' way in
            QTimer.singleShot(500, lambda: runpy.run_path(script, {"extension": self}))

    # -- commands ----------------------------------------------------------------------------------

    def ask_enhance(self):
        """Dialog, then the job."""
        from .dialog import EnhanceDialog

        self._ask("enhance", EnhanceDialog)

    def ask_sharpen(self):
        """Dialog, then the job."""
        from .sharpen_dialog import SharpenDialog

        self._ask("sharpen", SharpenDialog)

    def _ask(self, command, kind):
        if self.running is not None:
            _tell(_("A print is being made; wait for it or cancel it first."))
            return
        try:
            self.dialog = kind(*remember.load(command), _main_window())
        except (WallprintError, ValueError) as error:
            _tell(explain(error))
            return
        # Modeless: Krita stays usable, and no event loop runs inside another.
        self.dialog.accepted.connect(lambda: self._accepted(command))
        self.dialog.show()

    def _accepted(self, command):
        settings = self.dialog.settings()
        remember.save(command, settings, self.dialog.extra())
        getattr(self, command)(settings, *self.dialog.arguments())

    def enhance(self, settings: Settings):
        """Start Enhance for Wall Print with these settings."""
        from .run import Enhance

        self._start(lambda: Enhance(settings, self._progress, self._end))

    def sharpen(self, settings: Settings, print_long_side_mm: float = 0.0):
        """Start Sharpen Selection for Print."""
        from .sharpen import Sharpen

        self._start(lambda: Sharpen(settings, print_long_side_mm, self._progress, self._end))

    # -- the running job ---------------------------------------------------------------------------

    def _start(self, make):
        self.last_error = None
        try:
            self.running = make()
        except (WallprintError, ValueError) as error:
            self.last_error = error
            _tell(explain(error))
            return
        except Exception as error:
            traceback.print_exc()
            self.last_error = error
            _tell(f"{type(error).__name__}: {error}")
            return
        window = QProgressDialog(_("Starting…"), _("Cancel"), 0, 0, _main_window())
        window.setWindowTitle(_("Enhancing for the print"))
        window.setMinimumDuration(0)
        window.setMinimumWidth(380)
        window.setAutoClose(False)
        window.setAutoReset(False)
        window.canceled.connect(self._cancel)
        window.show()
        self.window = window

    def _cancel(self):
        if self.running is not None:
            self.running.job.cancel()
            self.window.setLabelText(_("Cancelling…"))

    def _progress(self, news):
        if isinstance(news, str):
            self.window.setLabelText(_(news))
            return
        if self.window.wasCanceled():
            return
        text = _(_PHASES.get(news.phase, news.phase)).format(
            done=news.done, total=news.total, count=news.queue_pos
        )
        if not news.responding:
            text = _("The server is not responding; waiting.")
        elif news.eta_s is not None:
            text += "\n" + time_left(news.eta_s)
        self.window.setLabelText(text)
        self.window.setMaximum(news.total)
        self.window.setValue(min(news.done, news.total))

    def _end(self, result, error):
        self.window.canceled.disconnect(self._cancel)
        self.window.close()
        ended, self.running = self.running, None
        self.last_result, self.last_error = result, error
        if error is None:
            self.last_message = closing_text(ended.undo_steps)
            _message(self.last_message)
        elif not isinstance(error, Cancelled):
            _tell(explain(error))


def time_left(seconds: float) -> str:
    """As "about 40 s left"."""
    if seconds < 90:
        return _("about {count} s left").format(count=round(seconds))
    return _("about {count} min left").format(count=round(seconds / 60))


def closing_text(undo_steps: int) -> str:
    """Said when the print is there; Krita has no way to make its steps one."""
    if not undo_steps:
        return _("The print is there, as a new image; this one is as it was.")
    if undo_steps == 1:
        return _("The print is there. To take it back, undo once.")
    return _("The print is there. To take it back, undo {count} times.").format(count=undo_steps)


def _main_window():
    window = Krita.instance().activeWindow()
    return window.qwindow() if window else None


def _add_beside(main_window, neighbour, action):
    """Put the action into the menu that holds Krita's own `neighbour` (menus have no names)."""
    known = Krita.instance().action(neighbour)
    for menu in main_window.findChildren(QMenu):
        if known is not None and known in menu.actions():
            menu.addAction(action)
            return


def _tell(text):
    """A message box that does not stop Krita's event loop."""
    box = QMessageBox(QMessageBox.Icon.Warning, _("Wall Print"), text, parent=_main_window())
    box.setModal(False)
    box.show()
    _tell.kept = box


def _message(text):
    window = Krita.instance().activeWindow()
    view = window.activeView() if window else None
    if view is not None:
        view.showFloatingMessage(text, Krita.instance().icon("dialog-ok"), 6000, 1)

"""What Krita sees: three actions, their menus, the progress of a running job and its end."""

from __future__ import annotations

import os
import runpy
import traceback

from krita import Extension, Krita

from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.print_plan import Settings

from . import remember
from .end_message import EndMessage
from .qt import QDesktopServices, QFileDialog, QMenu, QMessageBox, QProgressDialog, QTimer, QUrl
from .texts import N_, _, explain

ENHANCE, SHARPEN = "wallprint_enhance", "wallprint_sharpen_selection"
PROOF = "wallprint_proof"
_TEST_SCRIPT = "WALLPRINT_KRITA_SCRIPT"
_PHASES = {
    "upload": N_("Sending the layer"),
    "queued": N_("Waiting: {count} jobs before this one"),
    "load": N_("Loading the network"),
    "run": N_("Enlarging, tile {done} of {total}"),
    "encode": N_("Packing the result"),
    "download": N_("Receiving the print"),
    # Of the program's commands.
    "read": N_("Reading the picture"),
    "crop": N_("Computing crop {done} of {total}"),
    "save": N_("Writing the file"),
}


def register() -> None:
    """Make the extension known to Krita."""
    krita = Krita.instance()
    krita.addExtension(WallprintExtension(krita))


class WallprintExtension(Extension):
    """The commands; at most one job at a time in this Krita."""

    def __init__(self, parent):
        super().__init__(parent)
        self.running = None  # what is under way: keeps the job alive
        self.dialog = self.message = None  # the last ones
        self.last_error = self.last_result = None
        self.last_message = ""

    def setup(self):
        """Nothing to do before there is a window."""

    def createActions(self, window):
        """Tools > Scripts, and Image or Filter."""
        main_window = window.qwindow()  # lives longer than `window` itself
        for name, text, neighbour, command in (
            (ENHANCE, _("Enhance for Wall Print…"), "imagesize", self.ask_enhance),
            (PROOF, _("Make a Proof Sheet…"), "imagesize", self.ask_proof),
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
        if self.dialog is not None:
            self.dialog.proof_asked.connect(self._proof_of_dialog)

    def ask_proof(self, _checked=False, settings: Settings | None = None):
        """Dialog, then the job; of the print that was last asked for."""
        from .proof_dialog import ProofDialog

        settings = settings or remember.load("enhance")[0]
        self._ask("proof", lambda _own, extra, parent: ProofDialog(settings, extra, parent))

    def _proof_of_dialog(self):
        """Its values are kept, so that the print can be made after the proof was seen."""
        settings = self.dialog.settings()
        remember.save("enhance", self.dialog.remembered(), self.dialog.extra())
        self.dialog.reject()
        self.ask_proof(settings=settings)

    def ask_sharpen(self):
        """Dialog, then the job."""
        from .sharpen_dialog import SharpenDialog

        self._ask("sharpen", SharpenDialog)

    def _ask(self, command, kind):
        self.dialog = None
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
        remember.save(command, self.dialog.remembered(), self.dialog.extra())
        getattr(self, command)(settings, *self.dialog.arguments())

    def enhance(self, settings: Settings):
        """Start Enhance for Wall Print with these settings."""
        from .run import Enhance

        title = _("Enhancing for the print")
        self._start(lambda: Enhance(settings, self._progress, self._end), title)

    def sharpen(self, settings: Settings, print_long_side_mm: float = 0.0):
        """Start Sharpen Selection for Print."""
        from .sharpen import Sharpen

        title = _("Enhancing for the print")
        self._start(lambda: Sharpen(settings, print_long_side_mm, self._progress, self._end), title)

    def proof(self, settings: Settings, outputs, paper: str = "a4", strengths: bool = False):
        """Start Make a Proof Sheet."""
        from .proof import Proof

        self._start(
            lambda: Proof(settings, outputs, paper, strengths, self._progress, self._end),
            _("Making the proof sheet"),
        )

    def report(self, made, output=None):
        """Make the page about a finished print and show it."""
        from wallprint_protocol.program import plain_name

        from .after import AfterPrint
        from .files import new_file, usual_folder

        if output is None:
            stem = f"{plain_name(made.record.name)}_report"
            output = new_file(usual_folder(made.folder), stem, ".html")
        self._start(
            lambda: AfterPrint("report", made, output, self._progress, self._end),
            _("Making the report"),
        )

    def ask_save(self, made):
        """Which files, then the job."""
        from wallprint_protocol.program import plain_name

        from .files import new_file, usual_folder

        path = new_file(usual_folder(made.folder), plain_name(made.record.name), ".tif")
        chooser = QFileDialog(_main_window(), _("Save for Printing"), str(path))
        chooser.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        chooser.setNameFilters(["TIFF (*.tif)", "PDF (*.pdf)", "PNG (*.png)", "JPEG (*.jpg)"])
        chooser.setDefaultSuffix("tif")
        chooser.fileSelected.connect(lambda chosen: self.save(made, chosen))
        chooser.open()  # no event loop of its own
        self._chooser = chooser

    def save(self, made, output):
        """Write a finished print to files: whole, or its panels with their marks."""
        from .after import AfterPrint

        self._start(
            lambda: AfterPrint("save", made, output, self._progress, self._end),
            _("Writing the files"),
        )

    # -- the running job ---------------------------------------------------------------------------

    def _start(self, make, title):
        self.last_error = None
        if self.message is not None:
            self.message.close()
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
        window.setWindowTitle(title)
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
            self._say_end(ended, result)
        elif not isinstance(error, Cancelled):
            _tell(explain(error))

    def _say_end(self, ended, result):
        """What there is now, and what can be done with it."""
        choices = []
        if isinstance(result, list):  # files
            self.last_message = written_text(result)
            choices.append((_("Open"), lambda: _open(result[0])))
            if result[0].endswith(".html"):
                _open(result[0])
        else:
            self.last_message = closing_text(ended.undo_steps)
        made = getattr(ended, "made", ended)
        if getattr(made, "passport", None) is not None:
            if made.kept.whole:
                choices.append((_("Show Report"), lambda: self.report(made)))
            choices.append((_("Save for Printing…"), lambda: self.ask_save(made)))
        self.message = EndMessage(self.last_message, choices, _main_window())
        self.message.finished.connect(self._forget_message)
        self.message.show()

    def _forget_message(self):
        """With it goes the copy of the source, which the report would need."""
        self.message = None


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


def written_text(paths) -> str:
    """Said when files are there."""
    if len(paths) == 1:
        return _("{file} is there.").format(file=paths[0])
    return _("{count} files are there, {first} to {last}.").format(
        count=len(paths), first=paths[0], last=paths[-1]
    )


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


def _open(path):
    """In the program that the desktop has for it; a page in the browser."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(path))

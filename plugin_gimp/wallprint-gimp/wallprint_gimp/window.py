"""The progress window: the plug-in's own, so that GIMP stays usable and Cancel reaches the server.

GIMP's status bar would kill the plug-in about 10 ms after its Cancel, before anything could be
said to the server.
"""

from __future__ import annotations

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import GimpUi, Gtk  # noqa: E402

from .texts import N_, _  # noqa: E402

_PHASES = {
    "upload": N_("Sending the layer"),
    "queued": N_("Waiting: {count} jobs before this one"),
    "load": N_("Loading the network"),
    "run": N_("Enlarging, tile {done} of {total}"),
    "encode": N_("Packing the result"),
    "download": N_("Receiving the print"),
    "read": N_("Reading the pixels"),
    "crop": N_("Computing crop {done} of {total}"),
    "save": N_("Writing the file"),
}


class ProgressWindow:
    """Stage, tiles, time left, Cancel. Lives while `should_cancel` is called."""

    def __init__(self, role: str, title: str) -> None:
        GimpUi.init(role)
        self._cancelled = False
        self._dialog = GimpUi.Dialog(title=title, role="wallprint-progress")
        self._dialog.add_button(_("_Cancel"), Gtk.ResponseType.CANCEL)
        self._dialog.set_default_size(420, -1)
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=6, margin=12)
        self._label = Gtk.Label(label=_("Starting…"), xalign=0.0)
        self._label.set_line_wrap(True)
        self._bar = Gtk.ProgressBar(show_text=True)
        box.pack_start(self._label, False, False, 0)
        box.pack_start(self._bar, False, False, 0)
        self._dialog.get_content_area().add(box)
        self._dialog.connect("response", self._stop)
        self._dialog.show_all()
        pump()

    def _stop(self, *_args: object) -> None:
        self._cancelled = True
        self._label.set_text(_("Cancelling…"))

    def status(self, sentence: str) -> None:
        """Before the job: "Starting the wallprint server ..."."""
        self._label.set_text(_(sentence))
        self._bar.pulse()
        pump()

    def show(self, progress) -> None:
        """The job's stage."""
        if self._cancelled:
            return
        text = _(_PHASES.get(progress.phase, progress.phase)).format(
            done=progress.done, total=progress.total, count=progress.queue_pos
        )
        if not progress.responding:
            text = _("The server is not responding; waiting.")
        self._label.set_text(text)
        if progress.total:
            self._bar.set_fraction(min(1.0, progress.done / progress.total))
        else:
            self._bar.pulse()
        self._bar.set_text(time_left(progress.eta_s))
        pump()

    def should_cancel(self) -> bool:
        """Called by the client every 50 ms: turns the main loop once."""
        pump()
        return self._cancelled

    def close(self) -> None:
        """Take the window away."""
        self._dialog.destroy()
        pump()


def time_left(seconds: float | None) -> str:
    """As "about 40 s left", or nothing while it is unknown."""
    if seconds is None:
        return ""
    if seconds < 90:
        return _("about {count} s left").format(count=round(seconds))
    return _("about {count} min left").format(count=round(seconds / 60))


def pump() -> None:
    """Handle what GTK has to do, without waiting."""
    while Gtk.events_pending():
        Gtk.main_iteration()

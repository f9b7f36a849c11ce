"""The message after a print: what came of it, and what can be made of it now."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import GimpUi, Gio, GLib, Gtk  # noqa: E402

from wallprint_protocol.errors import BadInput, Cancelled, WallprintError  # noqa: E402
from wallprint_protocol.plan_lines import done_lines  # noqa: E402
from wallprint_protocol.program import plain_name  # noqa: E402

from . import files, run  # noqa: E402
from .texts import _, explain, fill, words  # noqa: E402
from .widgets import line  # noqa: E402
from .window import ProgressWindow  # noqa: E402

_CHARS = 70
_SUFFIXES = (".tif", ".tiff", ".pdf", ".png", ".jpg", ".jpeg")


class ClosingWindow:
    """Stays beside GIMP's own windows until it is closed.

    Args:
        role: name of the procedure.
        made: the print; its kept pixels are let go of at the end.
    """

    def __init__(self, role: str, made: run.Made) -> None:
        GimpUi.init(role)
        self._role, self._made = role, made
        self._dialog = GimpUi.Dialog(title=_("The print is made"), role="wallprint-closing")
        self._buttons = []
        for label, work in (
            (_("Show _Report"), self._report),
            (_("_Save for Printing…"), self._save),
            (_("Save _Passport…"), self._save_passport),
        ):
            button = Gtk.Button.new_with_mnemonic(label)
            button.connect("clicked", lambda _button, work=work: GLib.idle_add(self._do, work))
            self._buttons.append(button)
        self._dialog.add_button(_("_Close"), Gtk.ResponseType.CLOSE)
        self._dialog.set_default_response(Gtk.ResponseType.CLOSE)
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL, spacing=8, margin=12)
        for number, text in enumerate(done_lines(words(), made.record)):
            shown = line(chars=_CHARS)
            shown.set_text(text)
            if not number:
                shown.set_markup(f"<b>{GLib.markup_escape_text(text)}</b>")
            box.pack_start(shown, False, False, 0)
        row = Gtk.Box(spacing=6, margin_top=4)
        for button in self._buttons:
            row.pack_start(button, False, False, 0)
        box.pack_start(row, False, False, 0)
        self._answer = line(chars=_CHARS)
        self._answer.set_selectable(True)
        self._answer.set_can_focus(False)
        box.pack_start(self._answer, False, False, 0)
        self._dialog.get_content_area().add(box)
        self._dialog.show_all()

    def run(self) -> None:
        """Show it until it is closed."""
        try:
            self._dialog.run()
        finally:
            self._dialog.destroy()
            self._made.forget()

    def _do(self, work: Callable[[], str]) -> bool:
        """One of the buttons; False (an idle call)."""
        self._set_sensitive(False)
        try:
            answer = work()
        except Cancelled:
            answer = ""
        except (WallprintError, ValueError, OSError) as error:
            answer = explain(error)
        self._answer.set_text(answer)
        self._set_sensitive(True)
        return False

    def _set_sensitive(self, sensitive: bool) -> None:
        for button in self._buttons:
            button.set_sensitive(sensitive)
        self._dialog.set_response_sensitive(Gtk.ResponseType.CLOSE, sensitive)

    def _report(self) -> str:
        """Make the page and open it in the browser."""
        page = files.documents() / "wallprint" / f"{self._name()}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        progress = ProgressWindow(self._role, _("Making the report"))
        try:
            files.make_report(self._made, page, progress)
        finally:
            progress.close()
        text = fill(_("The report is {file}."), file=page)
        try:
            Gio.AppInfo.launch_default_for_uri(page.as_uri(), None)
        except GLib.Error:
            return text + "\n" + _("No browser could be opened; open the file in one.")
        return text

    def _save(self) -> str:
        """Write the print, in panels and with marks as planned."""
        output = self._ask_for_file(_("Save for Printing"), f"{self._name()}.tif")
        if output.suffix.lower() not in _SUFFIXES:
            output = output.with_name(output.name + ".tif")
        progress = ProgressWindow(self._role, _("Writing the print"))
        try:
            written = files.save_print(self._made, output, progress)
        finally:
            progress.close()
        if len(written) == 1:
            return fill(_("Written: {file}"), file=written[0])
        return fill(
            _("Written: {count} panels, {first} to {last}"),
            count=len(written),
            first=written[0],
            last=written[-1],
        )

    def _save_passport(self) -> str:
        """Write what `wallprint reproduce` reads."""
        name = f"{self._name()}.passport.json"
        output = self._ask_for_file(_("Save the Passport"), name)
        output.write_text(self._made.record.passport.to_json() + "\n", "utf-8")
        return fill(_("Written: {file}"), file=output)

    def _name(self) -> str:
        size = self._made.record.plan
        plain = plain_name(Path(self._made.record.name).stem)
        return f"{plain}_{size.width_mm / 10:.0f}x{size.height_mm / 10:.0f}cm"

    def _ask_for_file(self, title: str, name: str) -> Path:
        """Ask for a file; one that is there is only taken after a question.

        Raises:
            Cancelled: none was named.
            BadInput: one that is not on this computer.
        """
        chooser = Gtk.FileChooserDialog(
            title=title, transient_for=self._dialog, action=Gtk.FileChooserAction.SAVE
        )
        chooser.add_button(_("_Cancel"), Gtk.ResponseType.CANCEL)
        chooser.add_button(_("_Save"), Gtk.ResponseType.OK)
        chooser.set_default_response(Gtk.ResponseType.OK)
        chooser.set_do_overwrite_confirmation(True)
        chooser.set_current_folder(str(files.documents()))
        chooser.set_current_name(name)
        try:
            if chooser.run() != Gtk.ResponseType.OK:
                raise Cancelled
            found = chooser.get_filename()
        finally:
            chooser.destroy()
        if not found:
            raise BadInput(_("That place is not on this computer; choose a local folder."))
        return Path(found)


def tell_proof(role: str, sheets: list[str]) -> None:
    """Say where the proof sheet is; its PDF can be opened."""
    GimpUi.init(role)
    dialog = GimpUi.Dialog(title=_("The proof sheet is made"), role="wallprint-closing")
    dialog.add_button(_("_Open"), Gtk.ResponseType.OK)
    dialog.add_button(_("_Close"), Gtk.ResponseType.CLOSE)
    text = line(chars=_CHARS)
    text.set_selectable(True)
    text.set_text("\n".join([_("Print it at 100 %, without fitting it to the page:"), *sheets]))
    text.set_property("margin", 12)
    dialog.get_content_area().add(text)
    dialog.show_all()
    wanted = dialog.run()
    dialog.destroy()
    if wanted == Gtk.ResponseType.OK:
        with contextlib.suppress(GLib.Error):  # the message has said where it is
            Gio.AppInfo.launch_default_for_uri(Path(sheets[0]).as_uri(), None)

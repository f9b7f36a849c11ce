"""The dialog of Sharpen Selection for Print: a handful of values."""

from __future__ import annotations

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, Gtk  # noqa: E402

from .texts import _  # noqa: E402
from .widgets import Rows, label_of, one_of, source_line  # noqa: E402


class SharpenDialog:
    """Asks for the values of `plug-in-wallprint-sharpen-selection`."""

    def __init__(self, procedure, config, image, layer) -> None:
        title = _("Sharpen Selection for Print")
        dialog = self._dialog = GimpUi.ProcedureDialog.new(procedure, config, title)
        dialog.set_ok_label(_("Shar_pen"))
        label_of(dialog, "source-line", source_line(image, layer), chars=60)
        refusal = label_of(dialog, "refusal-line", "", chars=60)
        if Gimp.Selection.is_empty(image):
            refusal.set_text(_("Nothing is selected; select what is to be sharpened."))
            dialog.set_response_sensitive(Gtk.ResponseType.OK, False)
        rows = Rows(dialog, config)
        distance = rows.spin(
            "distance", _("Vie_wed from (cm)"), _("1.5 diagonals"), 100_000.0, 10.0
        )
        deblur = rows.spin("deblur", _("De_blur"), _("automatic"), 100.0, 5.0)
        content = ["print-long-side", distance, deblur, "feather", "medium", "strength", "device"]
        rows.box("values", content)
        dialog.set_sensitive_if_in("strength", None, "medium", one_of("none", "screen"), False)
        dialog.fill(["source-line", "values", "refusal-line"])

    def ask(self) -> bool:
        """Run it."""
        return self._dialog.run()

    def close(self) -> None:
        """Take it away."""
        self._dialog.destroy()

"""The dialog of Sharpen Selection for Print: a handful of values."""

from __future__ import annotations

import gi

gi.require_version("GimpUi", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GimpUi, Gtk  # noqa: E402

from .arguments import choices_of  # noqa: E402
from .texts import _  # noqa: E402
from .widgets import Column, add_halo_rows, line, own_box, source_line  # noqa: E402


class SharpenDialog:
    """Asks for the values of `plug-in-wallprint-sharpen-selection`."""

    def __init__(self, procedure, config, image, layer) -> None:
        title = _("Sharpen Selection for Print")
        dialog = self._dialog = GimpUi.ProcedureDialog.new(procedure, config, title)
        dialog.set_ok_label(_("Shar_pen"))
        box = own_box(dialog, source_line(image, layer), chars=60)
        column = Column(config)
        follows = _("by the document's resolution")
        long_side = column.number("print-long-side", 10.0, digits=1, lowest=follows)
        column.row(_("Lon_g side of the layer on paper (mm)"), long_side)
        distance = column.number("distance", 10.0, lowest=_("1.5 diagonals"))
        column.row(_("Vie_wed from (cm)"), distance)
        column.row(_("De_blur"), column.number("deblur", 5.0, lowest=_("automatic")))
        column.row(_("Feather (mm)"), column.number("feather", 0.5, digits=1))
        column.row(_("_Medium"), column.choice("medium", choices_of("medium")))
        strength = column.choice("strength", choices_of("strength"))
        column.row(_("Stre_ngth"), strength)
        sharpening = (strength, *add_halo_rows(column))
        column.row(_("Compute on"), column.choice("device", choices_of("device")))
        box.pack_start(column.widget, True, True, 0)
        refusal = line(chars=60)
        if Gimp.Selection.is_empty(image):
            refusal.set_text(_("Nothing is selected; select what is to be sharpened."))
            dialog.set_response_sensitive(Gtk.ResponseType.OK, False)
        box.pack_start(refusal, False, False, 0)
        box.show_all()

        def grey_out(*_changed: object) -> None:
            for widget in sharpening:
                widget.set_sensitive(config.get_property("medium") not in ("none", "screen"))

        config.connect("notify::medium", grey_out)
        grey_out()

    def ask(self) -> bool:
        """Run it."""
        return self._dialog.run()

    def close(self) -> None:
        """Take it away."""
        self._dialog.destroy()

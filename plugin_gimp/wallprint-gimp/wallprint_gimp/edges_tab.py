"""The tab about the paper, what lies beyond the print, and how it is cut: ink, wrap, panels."""

from __future__ import annotations

from wallprint_protocol.plan_lines import panels_line
from wallprint_protocol.print_plan import Plan, Settings

from .arguments import choices_of
from .texts import _, words
from .widgets import Column, add_halo_rows, line


class EdgesTab:
    """The column.

    Args:
        config: the procedure's values.
    """

    def __init__(self, config) -> None:
        column = Column(config)
        self.widget = column.widget
        column.title(_("Output sharpening"))
        self._sharpening = add_halo_rows(column)
        column.title(_("Gallery wrap"))
        self._fill = column.choice("wrap-fill", choices_of("wrap-fill"))
        self._colour = column.colour("wrap-colour", _("Colour of the wrap"))
        column.row(_("Wrapped with"), self._fill, self._colour)
        column.title(_("Panels"))
        rows = column.number("panel-rows", 1.0, hint=_("Panels on top of each other"))
        self._columns = column.number("panel-columns", 1.0, hint=_("Panels side by side"))
        column.row(_("Rows, columns"), rows, self._columns)
        widest = _("Widest sheet that goes through the printer, marks included; gives the columns")
        sheet = column.number("sheet-width", 10.0, digits=1, lowest=_("any width"), hint=widest)
        column.row(_("Widest sheet (mm)"), sheet)
        shared = _("What neighbouring panels share")
        self._overlap = column.number("overlap", 1.0, digits=1, hint=shared)
        column.row(_("Overlap (mm)"), self._overlap)
        self._marks = column.check("crop-marks", _("Crop marks"))
        column.add(self._marks)
        self._panels = column.add(line())
        how = _("Guides show the panels; “Save for Printing…” after the run writes their files.")
        column.add(line(how))

    def show(self, plan: Plan, settings: Settings) -> None:
        """What follows from the values."""
        for number in self._sharpening:
            number.set_sensitive(settings.sharpen != "none")
        wraps = settings.edges == "wrap"
        self._fill.set_sensitive(wraps)
        self._colour.set_sensitive(wraps and settings.wrap_fill == "colour")
        self._columns.set_sensitive(not settings.sheet_width_mm)
        self._overlap.set_sensitive(len(plan.panels) > 1)
        self._panels.set_text(panels_line(words(), plan))

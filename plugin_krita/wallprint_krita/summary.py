"""What the print will be, in lines that follow the dialog's values: one place for all of them."""

from __future__ import annotations

from wallprint_protocol.detail_budget import Detail
from wallprint_protocol.plan_lines import (
    advice_line,
    cost_line,
    detail_line,
    files_line,
    fit_line,
    halo_line,
    panels_line,
    pixels_line,
)
from wallprint_protocol.print_plan import LayerJob, Plan, Settings

from .qt import QVBoxLayout, QWidget
from .run import Source
from .texts import _, words
from .widgets import line

_ORDER = ("twice", "pixels", "fit", "panels", "detail", "advice", "halo", "files", "undo", "cost")
_BOLD = ("twice", "pixels")


class Summary(QWidget):
    """The lines; those with nothing to say take no room."""

    def __init__(self):
        super().__init__()
        self._labels = {name: line() for name in _ORDER}
        font = self.font()
        font.setBold(True)
        for name in _BOLD:
            self._labels[name].setFont(font)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for label in self._labels.values():
            column.addWidget(label)

    def text(self, name: str) -> str:
        """What a line says."""
        return self._labels[name].text()

    def show_plan(self, source: Source, plan: Plan, job: LayerJob, settings: Settings) -> None:
        """The lines that the plan itself tells."""
        say, layout = words(), source.space.layout
        self._say("pixels", pixels_line(say, plan, settings))
        self._say("fit", fit_line(say, plan, settings))
        self._say("panels", panels_line(say, plan))
        self._say("advice", advice_line(say, plan))
        self._say("files", files_line(say, plan, layout))
        self._say("cost", cost_line(say, settings, layout, source.rect.size, job))

    def show_detail(self, detail: Detail | None, job: LayerJob, plan: Plan, busy: bool) -> None:
        """How much true detail the picture has for the print; `busy`: that is being measured."""
        text = _("Measuring the picture's true detail…") if busy else ""
        if detail is not None:
            text = detail_line(words(), detail, job, plan.ppi)
        self._say("detail", text)

    def show_halo(self, plan: Plan, settings: Settings, *, earlier: bool) -> None:
        """Of the output sharpening, or why there is none; `earlier`: a print before has one."""
        text = halo_line(words(), plan, settings)
        if earlier and settings.sharpen == "none":
            text = _("Not sharpened for paper: an earlier print has done that.")
        self._say("halo", text)

    def show_warning(self, text: str) -> None:
        """Of a second sharpening for paper; "" for none."""
        self._say("twice", text)

    def show_undo(self, steps: int) -> None:
        """How often to undo."""
        text = _("This image stays as it is.")
        if steps:
            text = _("Krita's steps of undo: {count}").format(count=steps)
        self._say("undo", text)

    def _say(self, name: str, text: str) -> None:
        label = self._labels[name]
        label.setText(text)
        label.setVisible(bool(text))

"""The tab about the paper: how it lies, what is beyond the print, and how it is cut.

What does not count with the present values is grey, not gone.
"""

from __future__ import annotations

from wallprint_protocol.plan_lines import ANCHORS, CUTS, EDGES, ORIENTATIONS, WRAP_FILLS, cut_of
from wallprint_protocol.print_plan import EDGE_MM, OVERLAP_MM, Settings

from .qt import (
    QCheckBox,
    QColor,
    QColorDialog,
    QFormLayout,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
    pyqtSignal,
)
from .texts import _
from .widgets import Number, choice, choose, group, in_row, line

_MOST_PANELS = 100
_USUAL_COLUMNS = 3
_USUAL_SHEET_MM = 610.0  # 24 in, the commonest roll


class Paper(QWidget):
    """Orientation, anchor, edges, viewing distance and panels."""

    changed = pyqtSignal()

    def __init__(self):
        super().__init__()
        start = Settings()
        self.orientation = choice(ORIENTATIONS, start.orientation)
        self.anchor = choice(ANCHORS, start.anchor)
        self.edges = choice(EDGES, start.edges)
        self.edge_mm = Number(1000.0, suffix=" mm", decimals=1)
        self.edge_mm.setAccessibleName(_("Width of the edges on each side"))
        self.fill = choice(WRAP_FILLS, start.wrap_fill)
        self.colour = Colour()
        self.distance = Number(100_000.0, suffix=" cm", decimals=1, zero=_("1.5 diagonals"))
        self.cut = choice(CUTS, "none")
        self.rows, self.columns = QSpinBox(), QSpinBox()
        for box, prefix in ((self.rows, _("Rows: ")), (self.columns, _("Columns: "))):
            box.setRange(1, _MOST_PANELS)
            box.setKeyboardTracking(False)
            box.setPrefix(prefix)
        self.sheet_mm = Number(100_000.0, suffix=" mm", decimals=1)
        self.overlap_mm = Number(1000.0, suffix=" mm", decimals=1)
        self.marks = QCheckBox(_("Crop &marks on white paper around"))
        self._how = line()
        self._how.setText(
            _("“Save for Printing…” after the run writes the panels and their marks.")
        )
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        for title, rows in (
            (
                _("How it lies"),
                (
                    (_("&Orientation"), self.orientation),
                    (_("&Anchor"), self.anchor),
                    (_("&Viewed from"), self.distance),
                ),
            ),
            (
                _("Beyond the print"),
                (
                    (_("E&dges"), in_row(self.edges, self.edge_mm)),
                    (_("Wra&p with"), in_row(self.fill, self.colour)),
                ),
            ),
            (
                _("Panels"),
                (
                    (_("C&ut"), self.cut),
                    (_("Pa&nels"), in_row(self.rows, self.columns)),
                    (_("Sheet &width"), self.sheet_mm),
                    (_("Over&lap"), self.overlap_mm),
                    ("", self.marks),
                    (None, self._how),
                ),
            ),
        ):
            form = QFormLayout()
            for label, widget in rows:
                form.addRow(label, widget) if label is not None else form.addRow(widget)
            column.addWidget(group(title, form))
        column.addStretch(1)

    def _connect(self) -> None:
        for box in (self.orientation, self.anchor, self.fill, self.cut):
            box.currentIndexChanged.connect(lambda _index: self.changed.emit())
        for number in (
            self.edge_mm, self.distance, self.rows, self.columns, self.sheet_mm, self.overlap_mm,
        ):  # fmt: skip
            number.valueChanged.connect(lambda _value: self.changed.emit())
        self.marks.toggled.connect(lambda _on: self.changed.emit())
        self.colour.changed.connect(self.changed)
        self.edges.currentIndexChanged.connect(self._edges_changed)

    def values(self) -> dict:
        """The fields of `Settings` that are set here."""
        cut = self.cut.currentData()
        return {
            "orientation": self.orientation.currentData(),
            "anchor": self.anchor.currentData(),
            "edges": self.edges.currentData(),
            "edge_mm": self.edge_mm.value(),
            "wrap_fill": self.fill.currentData(),
            "wrap_colour": self.colour.value(),
            "distance_cm": self.distance.value(),
            "panel_rows": self.rows.value() if cut == "panels" else 1,
            "panel_columns": self.columns.value() if cut == "panels" else 1,
            "sheet_width_mm": self.sheet_mm.value() if cut == "sheet" else 0.0,
            "overlap_mm": self.overlap_mm.value(),
            "crop_marks": self.marks.isChecked(),
        }

    def set_values(self, settings: Settings) -> None:
        """Show these."""
        choose(self.orientation, settings.orientation)
        choose(self.anchor, settings.anchor)
        choose(self.edges, settings.edges)
        self.edge_mm.setValue(settings.edge_mm)
        choose(self.fill, settings.wrap_fill)
        self.colour.setValue(settings.wrap_colour)
        self.distance.setValue(settings.distance_cm)
        cut = cut_of(settings)
        choose(self.cut, cut)
        self.rows.setValue(settings.panel_rows)
        self.columns.setValue(settings.panel_columns if cut == "panels" else _USUAL_COLUMNS)
        self.sheet_mm.setValue(settings.sheet_width_mm or _USUAL_SHEET_MM)
        self.overlap_mm.setValue(settings.overlap_mm or OVERLAP_MM)
        self.marks.setChecked(settings.crop_marks)

    def grey_out(self, settings: Settings, *, fits: bool) -> None:
        """What counts with these values; `fits`: paper and picture may differ in proportions."""
        cut = self.cut.currentData()
        for widget, counts in (
            (self.orientation, fits),
            (self.anchor, fits and settings.fit != "keep"),
            (self.edge_mm, settings.edges != "none"),
            (self.fill, settings.edges == "wrap"),
            (self.colour, settings.edges == "wrap" and settings.wrap_fill == "colour"),
            (self.rows, cut == "panels"),
            (self.columns, cut == "panels"),
            (self.sheet_mm, cut == "sheet"),
            (self.overlap_mm, cut != "none"),
        ):
            widget.setEnabled(counts)

    def _edges_changed(self) -> None:
        """What is usual for bleed and for a stretcher bar."""
        kind = self.edges.currentData()
        if kind != "none":
            self.edge_mm.setValue(EDGE_MM[kind])
        self.changed.emit()


class Colour(QWidget):
    """A colour as text, and a button that lets one be picked."""

    changed = pyqtSignal()

    def __init__(self):
        super().__init__()
        self._text = QLineEdit()
        self._text.setMaxLength(9)
        self._text.setToolTip(_("#RRGGBB; for CMYK pictures #CCMMYYKK"))
        self._text.setAccessibleName(_("Colour of the edges"))
        self._text.textChanged.connect(self._show)
        self._text.editingFinished.connect(self.changed)
        self._button = QPushButton()
        self._button.setAutoDefault(False)
        self._button.setFixedWidth(28)
        self._button.setAccessibleName(_("Pick the colour"))
        self._button.clicked.connect(self._pick)
        row = in_row(self._text, self._button)
        QVBoxLayout(self).addWidget(row)
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.setFocusProxy(self._text)
        self._text.setFixedWidth(self._text.fontMetrics().horizontalAdvance("#DDDDDDDD") + 12)

    def value(self) -> str:
        """As it stands there."""
        return self._text.text().strip()

    def setValue(self, value: str) -> None:
        """Show this one."""
        self._text.setText(value)

    def _show(self) -> None:
        name = self.value()[:7]
        known = QColor(name).isValid() and len(self.value()) == 7
        self._button.setStyleSheet(f"background-color: {name}" if known else "")

    def _pick(self) -> None:
        self._dialog = QColorDialog(QColor(self.value()[:7]), self)
        self._dialog.colorSelected.connect(self._picked)
        self._dialog.open()  # no event loop of its own

    def _picked(self, colour) -> None:
        self.setValue(colour.name())
        self.changed.emit()

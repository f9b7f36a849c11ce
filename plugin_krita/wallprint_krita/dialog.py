"""Enhance for Wall Print: values in the order of what one decides first, live lines, a preview.

The arithmetic is `print_plan`'s; colours and fonts are those of Krita's theme.
"""

from __future__ import annotations

from dataclasses import replace

from wallprint_protocol.errors import WallprintError
from wallprint_protocol.print_plan import CUSTOM, EDGE_MM, PRESETS, Settings, layer_job
from wallprint_protocol.print_size import MAX_PPI, MIN_PPI, px_to_mm

from . import run
from .advanced import Advanced
from .base_dialog import MEDIA, STRENGTHS, BaseDialog
from .live_text import advice_text, cost_text, halo_text, pixels_text, undo_text
from .preview import Preview
from .qt import QCheckBox, QFormLayout, QGridLayout, QHBoxLayout, QLocale, QSpinBox, QVBoxLayout
from .texts import N_, _
from .widgets import Amount, Number, choice, choose, group, in_row, labelled, line

_UNIT_MM = {"cm": 10.0, "mm": 1.0, "in": 25.4}
_DECIMALS = {"cm": 2, "mm": 1, "in": 3, "px": 0}
_FITS = {"keep": N_("Keep ratio"), "crop": N_("Crop to fill"), "pad": N_("Pad with white")}
_EDGES = {
    "none": N_("No edges"),
    "bleed": N_("Bleed, to be cut off"),
    "wrap": N_("Gallery wrap, mirrored"),
}
_STYLES = {
    "faithful": N_("Faithful: adds nothing"),
    "enhanced": N_("Enhanced: may invent detail"),
}
_SOURCES = {
    "layer": N_("Active layer"),
    "visible": N_("Visible picture"),
    "selection": N_("Selection only"),
}
_RESULTS = {
    "new-layer": N_("New layer, image scaled"),
    "new-image": N_("New image"),
    "replace": N_("Replace the layer"),
}
_LONG_SIDE_MM = 1000.0
_COLUMN_PX = 390


class EnhanceDialog(BaseDialog):
    """The dialog.

    Args:
        settings: to begin with.
        extra: nothing is kept beside the settings.
    """

    def __init__(self, settings: Settings, extra: dict, parent=None):
        super().__init__(_("Enhance for Wall Print"), _("&Enhance"), parent)
        self._busy = True
        self._leader = "width"  # the side that the user typed last; the other follows it
        self._unit_shown = settings.unit
        self._shape = 1.0
        self._make_widgets()
        self._lay_out()
        self._connect()
        self._busy = False
        self.set_settings(replace(settings, source=self._usual_source()))

    # -- widgets -----------------------------------------------------------------------------------

    def _make_widgets(self) -> None:
        start = Settings()
        self._preset = choice({name: name for name in PRESETS}, start.preset)
        self._preset.setItemText(0, _("Custom"))
        self._width, self._height = Number(262144.0), Number(262144.0)
        self._unit = choice({unit: unit for unit in _DECIMALS}, start.unit)
        self._unit.setAccessibleName(_("Unit of width and height"))
        self._chain = QCheckBox(_("&Keep proportions"))
        self._ppi = QSpinBox()  # Krita keeps whole pixels per inch
        self._ppi.setRange(MIN_PPI, MAX_PPI)
        self._ppi.setSuffix(" ppi")
        self._ppi.setKeyboardTracking(False)
        self._fit = choice(_FITS, start.fit)
        self._edges = choice(_EDGES, start.edges)
        self._edge_mm = Number(1000.0, suffix=" mm", decimals=1)
        self._edge_mm.setAccessibleName(_("Width of the edges on each side"))
        self._distance = Number(100_000.0, suffix=" cm", decimals=1, zero=_("1.5 diagonals"))
        self._style = choice(_STYLES, start.style)
        self._repair, self._deblur = Amount(), Amount()
        self._source = choice(_SOURCES, start.source)
        self._feather = Number(1000.0, suffix=" mm")
        self._medium = choice(MEDIA, start.medium)
        self._strength = choice(STRENGTHS, start.strength)
        self._result = choice(_RESULTS, start.result)
        self._pixels, self._advice, self._halo = line(), line(), line()
        self._undo, self._cost = line(), line()
        self._preview = Preview(self.document, self.source)
        self._advanced = Advanced(self.settings)

    def _lay_out(self) -> None:
        left, right, columns = QVBoxLayout(), QVBoxLayout(), QHBoxLayout()
        columns.addLayout(left)
        columns.addLayout(right, 1)
        columns.setSpacing(12)
        self._lines.addLayout(columns)
        size = group(_("Print size"), self._size_grid())
        size.setMinimumWidth(_COLUMN_PX)
        left.addWidget(size)
        for column, title, rows in (
            (
                left,
                _("On the paper"),
                (
                    (_("&Fit"), self._fit),
                    (_("E&dges"), in_row(self._edges, self._edge_mm)),
                ),
            ),
            (left, _("Viewed from"), ((_("&Viewed from"), self._distance), ("", self._advice))),
            (
                left,
                _("Enhancing"),
                (
                    (_("St&yle"), self._style),
                    (_("Rep&air"), self._repair),
                    (_("De&blur"), self._deblur),
                ),
            ),
            (
                right,
                _("Apply to"),
                ((_("App&ly to"), self._source), (_("Fea&ther"), self._feather)),
            ),
            (
                right,
                _("Output sharpening"),
                (
                    (_("&Medium"), self._medium),
                    (_("Stren&gth"), self._strength),
                    ("", self._halo),
                ),
            ),
            (right, _("Result"), ((_("Res&ult"), self._result), ("", self._undo))),
        ):
            form = QFormLayout()
            for label, widget in rows:
                form.addRow(label, widget) if label else form.addRow(widget)
            column.addWidget(group(title, form))
        around = QVBoxLayout()
        around.addWidget(self._preview)
        right.addWidget(group(_("Preview"), around))
        left.addStretch(1)
        right.addStretch(1)
        self._lines.addWidget(self._advanced)
        self._lines.addWidget(self._cost)
        self.finish_layout()

    def _size_grid(self) -> QGridLayout:
        grid = QGridLayout()
        for row, (label, widget, beside) in enumerate(
            (
                (_("&Preset"), self._preset, None),
                (_("&Width"), self._width, self._unit),
                (_("&Height"), self._height, self._chain),
                (_("&Resolution"), self._ppi, None),
            )
        ):
            grid.addWidget(labelled(label, widget), row, 0)
            grid.addWidget(widget, row, 1, 1, 1 if beside else 2)
            if beside:
                grid.addWidget(beside, row, 2)
        grid.addWidget(self._pixels, 4, 0, 1, 3)
        grid.setColumnStretch(1, 1)
        return grid

    def _connect(self) -> None:
        for box in (
            self._preset, self._fit, self._style, self._source, self._medium, self._strength,
            self._result,
        ):  # fmt: skip
            box.currentIndexChanged.connect(self.update_lines)
        for number in (
            self._ppi, self._edge_mm, self._distance, self._repair, self._deblur, self._feather,
        ):  # fmt: skip
            number.valueChanged.connect(self.update_lines)
        self._advanced.changed.connect(self.update_lines)
        self._advanced.unfolded.connect(self.fit)
        self._edges.currentIndexChanged.connect(self._edges_changed)
        self._width.valueChanged.connect(lambda _value: self._side_changed("width"))
        self._height.valueChanged.connect(lambda _value: self._side_changed("height"))
        self._chain.toggled.connect(lambda _on: self._side_changed(self._leader))
        self._unit.currentIndexChanged.connect(self._unit_changed)

    # -- values ------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """What the widgets hold; a side that follows is 0."""
        keeps = self._chain.isChecked()
        return Settings(
            preset=self._preset.currentData(),
            width=0.0 if keeps and self._leader == "height" else self._width.value(),
            height=0.0 if keeps and self._leader == "width" else self._height.value(),
            unit=self._unit.currentData(),
            ppi=float(self._ppi.value()),
            fit=self._fit.currentData(),
            edges=self._edges.currentData(),
            edge_mm=self._edge_mm.value(),
            distance_cm=self._distance.value(),
            style=self._style.currentData(),
            repair=self._repair.value(),
            deblur=self._deblur.value(),
            source=self._source.currentData(),
            feather_mm=self._feather.value(),
            medium=self._medium.currentData(),
            strength=self._strength.currentData(),
            result=self._result.currentData(),
            **self._advanced.values(),
        )

    def extra(self) -> dict:
        """Nothing beside the settings."""
        return {}

    def arguments(self) -> tuple:
        """What the command takes after the settings."""
        return ()

    def set_settings(self, settings: Settings) -> None:
        """Show these values."""
        self._busy = True
        for box, value in (
            (self._preset, settings.preset), (self._fit, settings.fit),
            (self._edges, settings.edges), (self._style, settings.style),
            (self._source, settings.source), (self._medium, settings.medium),
            (self._strength, settings.strength), (self._result, settings.result),
        ):  # fmt: skip
            choose(box, value)
        self._ppi.setValue(round(settings.ppi))
        self._edge_mm.setValue(settings.edge_mm)
        self._distance.setValue(settings.distance_cm)
        self._repair.setValue(settings.repair)
        self._deblur.setValue(settings.deblur)
        self._feather.setValue(settings.feather_mm)
        self._advanced.set_values(settings)
        width, height, unit = settings.width, settings.height, settings.unit
        self._chain.setChecked(not (width and height))
        self._leader = "height" if height and not width else "width"
        if not width and not height:  # a metre on the long side
            self._leader = "width" if self.document.width() >= self.document.height() else "height"
            imperial = QLocale().measurementSystem() != QLocale.MeasurementSystem.MetricSystem
            unit = "in" if imperial else "cm"
            width = height = _LONG_SIDE_MM / _UNIT_MM[unit]
        self._show_unit(unit)
        self._width.setValue(width)
        self._height.setValue(height)
        self._busy = False
        self._side_changed(self._leader)

    def set_defaults(self) -> None:
        """As before anything was changed."""
        self.set_settings(Settings(source=self._usual_source()))

    def _usual_source(self) -> str:
        return "layer" if self.document.selection() is None else "selection"

    def _show_unit(self, unit: str) -> None:
        choose(self._unit, unit)
        self._unit_shown = unit
        for number in (self._width, self._height):
            number.setDecimals(_DECIMALS[unit])

    def _side_changed(self, leader: str) -> None:
        if self._busy:
            return
        self._leader = leader
        if self._chain.isChecked():
            shape = self._width_over_height()
            self._busy = True
            if leader == "width":
                self._height.setValue(self._width.value() / shape)
            else:
                self._width.setValue(self._height.value() * shape)
            self._busy = False
        self.update_lines()

    def _width_over_height(self) -> float:
        """Of the picture on paper; the last known when its document was closed."""
        document = self.document
        width, height = document.width() * document.yRes(), document.height() * document.xRes()
        if width and height:
            self._shape = width / height
        return self._shape

    def _unit_changed(self) -> None:
        if self._busy:
            return
        old, new = self._unit_shown, self._unit.currentData()
        per_mm = {**{u: 1 / mm for u, mm in _UNIT_MM.items()}, "px": self._ppi.value() / 25.4}
        sides = [n.value() / per_mm[old] * per_mm[new] for n in (self._width, self._height)]
        self._busy = True
        self._show_unit(new)
        self._width.setValue(sides[0])
        self._height.setValue(sides[1])
        self._busy = False
        self.update_lines()

    def _edges_changed(self) -> None:
        if not self._busy and self._edges.currentData() != "none":
            self._busy = True
            self._edge_mm.setValue(EDGE_MM[self._edges.currentData()])
            self._busy = False
        self.update_lines()

    # -- live lines --------------------------------------------------------------------------------

    def update_lines(self) -> None:
        """The lines that follow the values; reasons to refuse come before the run."""
        if self._busy:
            return
        settings = self.settings()
        self._grey_out(settings)
        try:
            source = self.source(settings)
            plan = run.plan_of(self.document, settings)
            job = layer_job(plan, source.rect)
            run.build_request(source, job, plan, settings)
        except (ValueError, WallprintError) as error:
            self.refuse(error)
            return
        self.allow()
        self._show_preset(settings, plan)
        self._pixels.setText(pixels_text(settings, plan))
        self._advice.setText(advice_text(plan))
        self._halo.setText(halo_text(settings, plan))
        self._undo.setText(undo_text(run.undo_steps(self.document, plan, settings)))
        self._cost.setText(cost_text(settings, source, job))
        self._preview.changed(plan, settings)
        self.grow()

    def _grey_out(self, settings: Settings) -> None:
        custom = settings.preset == CUSTOM
        for widget in (self._width, self._height, self._unit, self._chain):
            widget.setEnabled(custom)
        # A print with the picture's own proportions leaves nothing to fit.
        self._fit.setEnabled(not (custom and self._chain.isChecked()))
        self._edge_mm.setEnabled(settings.edges != "none")
        self._feather.setEnabled(settings.source == "selection")
        self._strength.setEnabled(settings.sharpen != "none")

    def _show_preset(self, settings: Settings, plan) -> None:
        """A preset's size in the greyed fields; "Custom" then begins with it."""
        if settings.preset == CUSTOM:
            return
        unit = settings.unit
        self._busy = True
        for number, px in ((self._width, plan.trim.width), (self._height, plan.trim.height)):
            number.setValue(px if unit == "px" else px_to_mm(px, plan.ppi) / _UNIT_MM[unit])
        self._busy = False

    def done(self, result):
        """Closing ends what the dialog itself has asked of the server."""
        self._preview.stop()
        self._advanced.stop()
        super().done(result)

"""Enhance for Wall Print: what one decides first on the first tab, live lines and a preview beside.

The arithmetic is `print_plan`'s, the sentences are `plan_lines`'; colours and fonts are those of
Krita's theme.
"""

from __future__ import annotations

from dataclasses import replace

from wallprint_protocol.errors import WallprintError
from wallprint_protocol.plan_lines import (
    FITS,
    MEDIA,
    OWN_PREFIX,
    RESULTS,
    SOURCES,
    STRENGTHS,
    STYLES,
    UNIT_MM,
    preset_choices,
    preset_of,
    presets_refusal,
    sharpened_line,
)
from wallprint_protocol.print_plan import CUSTOM, Settings, layer_job
from wallprint_protocol.print_size import MAX_PPI, MIN_PPI, px_to_mm

from . import run
from .advanced import Advanced
from .base_dialog import BaseDialog
from .detail import DetailMeasure
from .halo_fields import HaloFields
from .paper import Paper
from .preview import Preview
from .qt import (
    QCheckBox,
    QComboBox,
    QDialogButtonBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLocale,
    QSpinBox,
    QTabWidget,
    QVBoxLayout,
    QWidget,
    pyqtSignal,
)
from .summary import Summary
from .texts import _, words
from .widgets import Amount, Number, choice, choose, group, in_row, labelled, line

_DECIMALS = {"cm": 2, "mm": 1, "in": 3, "px": 0}
_LONG_SIDE_MM = 1000.0
_TABS_PX = 430


class EnhanceDialog(BaseDialog):
    """The dialog.

    Args:
        settings: to begin with.
        extra: nothing is kept beside the settings.
    """

    proof_asked = pyqtSignal()

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
        settings = replace(settings, source=self._usual_source())
        self._medium_before = ""  # of a user who gets "none" because of an earlier print
        if self._sharpened(settings) and settings.sharpen != "none":
            self._medium_before = settings.medium
            settings = replace(settings, medium="none")
        self.set_settings(settings)

    # -- widgets -----------------------------------------------------------------------------------

    def _make_widgets(self) -> None:
        start = Settings()
        self._preset = QComboBox()
        for value, sentence in preset_choices().items():
            self._preset.addItem(words().say(sentence), value)
        self._preset.setMaxVisibleItems(18)
        self._preset.setStyleSheet("QComboBox { combobox-popup: 0; }")  # or it fills the screen
        self._width, self._height = Number(262144.0), Number(262144.0)
        self._unit = choice({unit: unit for unit in _DECIMALS}, start.unit)
        self._unit.setAccessibleName(_("Unit of width and height"))
        self._chain = QCheckBox(_("&Keep proportions"))
        self._ppi = QSpinBox()  # Krita keeps whole pixels per inch
        self._ppi.setRange(MIN_PPI, MAX_PPI)
        self._ppi.setSuffix(" ppi")
        self._ppi.setKeyboardTracking(False)
        self._fit = choice(FITS, start.fit)
        self._style = choice(STYLES, start.style)
        self._repair, self._deblur = Amount(), Amount()
        self._source = choice(SOURCES, start.source)
        self._feather = Number(1000.0, suffix=" mm")
        self._feather.setAccessibleName(_("Soft edge of the selection on the print"))
        self._feather.setToolTip(_("Soft edge of the selection on the print"))
        self._medium = choice(MEDIA, start.medium)
        self._strength = choice(STRENGTHS, start.strength)
        self._result = choice(RESULTS, start.result)
        self._halo = HaloFields()
        self._summary = Summary()
        self._preview = Preview(self.document, self.source)
        self._paper, self._advanced = Paper(), Advanced(self.settings)
        self._measure = DetailMeasure(self.update_lines)

    def _lay_out(self) -> None:
        self._tabs = QTabWidget()
        self._tabs.setMinimumWidth(_TABS_PX)
        for tab, title in (
            (self._first_tab(), _("Print")),
            (self._paper, _("Paper, edges, panels")),
            (self._advanced, _("Advanced")),
        ):
            self._tabs.addTab(tab, title)
        right = QVBoxLayout()
        for title, widget in ((_("Preview"), self._preview), (_("The print"), self._summary)):
            around = QVBoxLayout()
            around.addWidget(widget)
            right.addWidget(group(title, around))
        right.addStretch(1)
        columns = QHBoxLayout()
        columns.addWidget(self._tabs)
        columns.addLayout(right, 1)
        columns.setSpacing(12)
        self._lines.addLayout(columns)
        proof = self._buttons.addButton(_("Proof Sheet…"), QDialogButtonBox.ButtonRole.ActionRole)
        proof.setAutoDefault(False)
        proof.clicked.connect(lambda: self.proof_asked.emit())
        self.proof_button = proof
        self.finish_layout()

    def _first_tab(self) -> QWidget:
        tab = QWidget()
        column = QVBoxLayout(tab)
        column.addWidget(group(_("Print size"), self._size_grid()))
        for title, rows in (
            (
                _("Enhancing"),
                (
                    (_("St&yle"), self._style),
                    (_("Rep&air"), self._repair),
                    (_("De&blur"), self._deblur),
                ),
            ),
            (
                _("Output sharpening"),
                (
                    (_("&Medium"), self._medium),
                    (_("Stren&gth"), self._strength),
                    (_("Hal&o, ink spread"), self._halo),
                ),
            ),
            (
                _("Layer"),
                (
                    (_("App&ly to"), in_row(self._source, self._feather)),
                    (_("Res&ult"), self._result),
                ),
            ),
        ):
            form = QFormLayout()
            for label, widget in rows:
                form.addRow(label, widget)
            column.addWidget(group(title, form))
        column.addStretch(1)
        return tab

    def _size_grid(self) -> QGridLayout:
        grid = QGridLayout()
        for row, (label, widget, beside) in enumerate(
            (
                (_("&Preset"), self._preset, None),
                (_("&Width"), self._width, self._unit),
                (_("&Height"), self._height, self._chain),
                (_("&Resolution"), self._ppi, None),
                (_("&Fit"), self._fit, None),
            )
        ):
            grid.addWidget(labelled(label, widget), row, 0)
            grid.addWidget(widget, row, 1, 1, 1 if beside else 2)
            if beside:
                grid.addWidget(beside, row, 2)
        refusal = presets_refusal()
        if refusal is not None:
            unusable = line()
            unusable.setText(words().say(refusal))
            grid.addWidget(unusable, 5, 0, 1, 3)
        grid.setColumnStretch(1, 1)
        return grid

    def _connect(self) -> None:
        for box in (
            self._preset, self._fit, self._style, self._source, self._medium, self._strength,
            self._result,
        ):  # fmt: skip
            box.currentIndexChanged.connect(self.update_lines)
        for number in (self._ppi, self._repair, self._deblur, self._feather, self._halo):
            number.valueChanged.connect(self.update_lines)
        for tab in (self._paper, self._advanced):
            tab.changed.connect(self.update_lines)
        self._width.valueChanged.connect(lambda _value: self._side_changed("width"))
        self._height.valueChanged.connect(lambda _value: self._side_changed("height"))
        self._chain.toggled.connect(lambda _on: self._side_changed(self._leader))
        self._unit.currentIndexChanged.connect(self._unit_changed)

    # -- values ------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """What the widgets hold; a side that follows is 0."""
        keeps = self._chain.isChecked()
        values = {**self._paper.values(), **self._advanced.values(), **self._halo.values()}
        if not self._fits():
            values["orientation"] = "auto"
        return Settings(
            preset=preset_of(self._preset.currentData()),
            width=0.0 if keeps and self._leader == "height" else self._width.value(),
            height=0.0 if keeps and self._leader == "width" else self._height.value(),
            unit=self._unit.currentData(),
            ppi=float(self._ppi.value()),
            fit=self._fit.currentData(),
            style=self._style.currentData(),
            repair=self._repair.value(),
            deblur=self._deblur.value(),
            source=self._source.currentData(),
            feather_mm=self._feather.value(),
            medium=self._medium.currentData(),
            strength=self._strength.currentData(),
            result=self._result.currentData(),
            **values,
        )

    def remembered(self) -> Settings:
        """What the next dialog begins with."""
        settings = self.settings()
        if self._medium_before and settings.medium == "none":
            return replace(settings, medium=self._medium_before)
        return settings

    def extra(self) -> dict:
        """Nothing beside the settings."""
        return {}

    def arguments(self) -> tuple:
        """What the command takes after the settings."""
        return ()

    def set_settings(self, settings: Settings) -> None:
        """Show these values."""
        self._busy = True
        own = OWN_PREFIX + settings.preset
        for box, value in (
            (self._preset, own if self._preset.findData(own) >= 0 else settings.preset),
            (self._fit, settings.fit), (self._style, settings.style),
            (self._source, settings.source), (self._medium, settings.medium),
            (self._strength, settings.strength), (self._result, settings.result),
        ):  # fmt: skip
            choose(box, value)
        self._ppi.setValue(round(settings.ppi))
        self._repair.setValue(settings.repair)
        self._deblur.setValue(settings.deblur)
        self._feather.setValue(settings.feather_mm)
        self._halo.set_values(settings)
        self._paper.set_values(settings)
        self._advanced.set_values(settings)
        width, height, unit = settings.width, settings.height, settings.unit
        self._chain.setChecked(not (width and height))
        self._leader = "height" if height and not width else "width"
        if not width and not height:  # a metre on the long side
            self._leader = "width" if self.document.width() >= self.document.height() else "height"
            imperial = QLocale().measurementSystem() != QLocale.MeasurementSystem.MetricSystem
            unit = "in" if imperial else "cm"
            width = height = _LONG_SIDE_MM / UNIT_MM[unit]
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
        per_mm = {**{u: 1 / mm for u, mm in UNIT_MM.items()}, "px": self._ppi.value() / 25.4}
        sides = [n.value() / per_mm[old] * per_mm[new] for n in (self._width, self._height)]
        self._busy = True
        self._show_unit(new)
        self._width.setValue(sides[0])
        self._height.setValue(sides[1])
        self._busy = False
        self.update_lines()

    def _fits(self) -> bool:
        """Whether paper and picture may differ in proportions."""
        return not (self._preset.currentData() == CUSTOM and self._chain.isChecked())

    def _sharpened(self, settings: Settings) -> dict | None:
        """How the source was sharpened for paper before."""
        try:
            return run.earlier_sharpening(run.active_source(settings), settings)
        except (ValueError, WallprintError):
            return None

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
        self._summary.show_plan(source, plan, job, settings)
        self._summary.show_undo(run.undo_steps(self.document, plan, settings))
        detail = self._measure.of(source, settings)
        self._summary.show_detail(detail, job, plan, busy=self._measure.running)
        self._show_sharpening(source, plan, settings)
        self._preview.changed(plan, settings)
        self.grow()

    def _show_sharpening(self, source, plan, settings: Settings) -> None:
        """The halo, or why there is none; a warning before a second one."""
        earlier = run.earlier_sharpening(source, settings)
        self._summary.show_halo(plan, settings, earlier=bool(earlier))
        self._summary.show_warning(sharpened_line(words(), earlier, settings))

    def _grey_out(self, settings: Settings) -> None:
        custom = settings.preset == CUSTOM
        for widget in (self._width, self._height, self._unit, self._chain):
            widget.setEnabled(custom)
        self._fit.setEnabled(self._fits())
        self._paper.grey_out(settings, fits=self._fits())
        self._feather.setEnabled(settings.source == "selection")
        for widget in (self._strength, self._halo):
            widget.setEnabled(settings.sharpen != "none")

    def _show_preset(self, settings: Settings, plan) -> None:
        """A preset's size in the greyed fields; "Custom" then begins with it."""
        if settings.preset == CUSTOM:
            return
        unit = settings.unit
        self._busy = True
        for number, px in ((self._width, plan.trim.width), (self._height, plan.trim.height)):
            number.setValue(px if unit == "px" else px_to_mm(px, plan.ppi) / UNIT_MM[unit])
        self._busy = False

    def done(self, result):
        """Closing ends what the dialog itself has asked of the server."""
        self._preview.stop()
        self._measure.stop()
        self._advanced.stop()
        super().done(result)

"""The dialogs in Qt: values in the order of what one decides first, live lines, one spot's preview.

The arithmetic is `print_plan`'s; colours and fonts are those of Krita's theme.
"""

from __future__ import annotations

from dataclasses import replace

from wallprint_protocol import forecast
from wallprint_protocol.errors import WallprintError
from wallprint_protocol.print_plan import CUSTOM, PRESETS, Settings, layer_job, make_plan
from wallprint_protocol.print_size import MAX_PPI, MIN_PPI

from . import run
from .preview import Preview
from .qt import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
)
from .texts import N_, _

_UNITS = ("cm", "mm", "in", "px")
_UNIT_MM = {"mm": 1.0, "cm": 10.0, "in": 25.4}
_FITS = {"keep": N_("Keep ratio"), "crop": N_("Crop to fill"), "pad": N_("Pad with white")}
_STYLES = {
    "faithful": N_("Faithful: adds nothing"),
    "enhanced": N_("Enhanced: may invent detail"),
}
_SOURCES = {
    "layer": N_("Active layer"),
    "visible": N_("Visible picture"),
    "selection": N_("Selection only"),
}
_MEDIA = {
    "matte": N_("Matte or fine art paper"),
    "glossy": N_("Glossy paper"),
    "canvas": N_("Canvas"),
    "none": N_("None"),
}
_STRENGTHS = {"standard": N_("Standard"), "low": N_("Low"), "high": N_("High")}
_RESULTS = {"new-layer": N_("New layer, image scaled"), "new-image": N_("New image")}
_DEVICES = {"auto": N_("Automatic"), "cpu": "CPU", "cuda": "CUDA", "mps": "Metal"}


def _choice(options, value) -> QComboBox:
    box = QComboBox()
    for nick, text in options.items():
        box.addItem(_(text), nick)
    box.setCurrentIndex(max(0, box.findData(value)))
    return box


def _amount(value) -> QSpinBox:
    """0..100; the lowest value reads "automatic"."""
    box = QSpinBox()
    box.setRange(-1, 100)
    box.setSingleStep(5)
    box.setSpecialValueText(_("automatic"))
    box.setValue(-1 if value is None else value)
    return box


def _number(value, high, *, suffix="", decimals=2, zero="") -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.0, high)
    box.setDecimals(decimals)
    box.setSuffix(suffix)
    box.setKeyboardTracking(False)
    if zero:
        box.setSpecialValueText(zero)
    box.setValue(value)
    return box


class _Dialog(QDialog):
    """Buttons and the two lines that both dialogs have."""

    def __init__(self, title, ok_text, parent):
        super().__init__(parent)
        self.setWindowTitle(title)
        self._lines = QVBoxLayout(self)
        self.source_line = QLabel()
        self.source_line.setWordWrap(True)
        self._lines.addWidget(self.source_line)
        self.refusal_line = QLabel()
        self.refusal_line.setWordWrap(True)
        font = self.refusal_line.font()
        font.setBold(True)
        self.refusal_line.setFont(font)
        buttons = QDialogButtonBox.StandardButton
        self._buttons = QDialogButtonBox(buttons.RestoreDefaults | buttons.Cancel | buttons.Ok)
        self.ok_button = self._buttons.button(buttons.Ok)
        self.ok_button.setText(ok_text)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        self._buttons.button(buttons.RestoreDefaults).clicked.connect(
            lambda: self.set_settings(Settings())
        )

    def _finish_layout(self):
        self._lines.addWidget(self.refusal_line)
        self._lines.addWidget(self._buttons)

    def _group(self, title, rows, column):
        box = QGroupBox(title)
        form = QFormLayout(box)
        for label, widget in rows:
            if label:
                form.addRow(label, widget)
            else:
                form.addRow(widget)
        column.addWidget(box)


class SharpenDialog(_Dialog):
    """Sharpen Selection for Print."""

    def __init__(self, settings: Settings, parent=None):
        super().__init__(_("Sharpen Selection for Print"), _("&Sharpen"), parent)
        source = run.active_source(Settings())
        self.source_line.setText(source_text(source))
        self._length = _number(0.0, 100_000.0, suffix=" mm", zero=_("by the document's resolution"))
        self._distance = _number(0.0, 100_000.0, suffix=" cm", zero=_("1.5 diagonals"))
        self._deblur = _amount(settings.deblur)
        self._feather = _number(settings.feather_mm, 1000.0, suffix=" mm")
        self._medium = _choice(_MEDIA, settings.medium)
        self._strength = _choice(_STRENGTHS, settings.strength)
        self._group(
            "",
            (
                (_("&Long side of the image on paper"), self._length),
                (_("&Viewed from"), self._distance),
                (_("&Deblur"), self._deblur),
                (_("&Feather"), self._feather),
                (_("&Medium"), self._medium),
                (_("S&trength"), self._strength),
            ),
            self._lines,
        )
        self._finish_layout()
        if source.selection is None:
            self.refusal_line.setText(_("Nothing is selected; select what is to be sharpened."))
            self.ok_button.setEnabled(False)
        self._settings = settings

    def settings(self) -> Settings:
        """What the widgets hold, over what the other dialog remembers."""
        deblur = self._deblur.value()
        return replace(
            self._settings,
            deblur=None if deblur < 0 else deblur,
            feather_mm=self._feather.value(),
            medium=self._medium.currentData(),
            strength=self._strength.currentData(),
        )

    def set_settings(self, settings: Settings) -> None:
        """Show other values."""
        self._deblur.setValue(-1 if settings.deblur is None else settings.deblur)
        self._feather.setValue(settings.feather_mm)
        self._medium.setCurrentIndex(self._medium.findData(settings.medium))
        self._strength.setCurrentIndex(self._strength.findData(settings.strength))

    def extra(self):
        """Arguments beside the settings."""
        return (self._length.value(),)


class EnhanceDialog(_Dialog):
    """Enhance for Wall Print."""

    def __init__(self, settings: Settings, parent=None):
        super().__init__(_("Enhance for Wall Print"), _("&Enhance"), parent)
        source = run.active_source(Settings())
        self._document = source.document
        self._canvas = run.canvas_of(source.document)
        self._has_selection = source.selection is not None
        settings = replace(settings, source="selection" if self._has_selection else "layer")
        self._busy = True
        self._leader = "width"  # the side that the user typed last; the other follows it
        self._unit_shown = settings.unit
        self._make_widgets(settings)
        self._lay_out()
        self.source_line.setText(source_text(source))
        self._connect()
        self._busy = False
        self.set_settings(settings)

    def extra(self):
        """Arguments beside the settings."""
        return ()

    # -- widgets -----------------------------------------------------------------------------------

    def _make_widgets(self, settings: Settings) -> None:
        self._preset = _choice({name: name for name in PRESETS}, settings.preset)
        self._preset.setItemText(0, _("Custom"))
        self._width = _number(0.0, 262144.0)
        self._height = _number(0.0, 262144.0)
        self._unit = _choice({unit: unit for unit in _UNITS}, settings.unit)
        self._chain = QCheckBox(_("&Keep proportions"))
        self._ppi = QSpinBox()  # Krita keeps whole pixels per inch
        self._ppi.setRange(MIN_PPI, MAX_PPI)
        self._ppi.setKeyboardTracking(False)
        self._fit = _choice(_FITS, settings.fit)
        self._distance = _number(0.0, 100_000.0, suffix=" cm", zero=_("1.5 diagonals"))
        self._style = _choice(_STYLES, settings.style)
        self._repair = _amount(settings.repair)
        self._deblur = _amount(settings.deblur)
        self._source = _choice(_SOURCES, settings.source)
        self._feather = _number(settings.feather_mm, 1000.0, suffix=" mm")
        self._medium = _choice(_MEDIA, settings.medium)
        self._strength = _choice(_STRENGTHS, settings.strength)
        self._result = _choice(_RESULTS, settings.result)
        self._device = _choice(_DEVICES, settings.device)
        self._pixels, self._advice, self._cost = QLabel(), QLabel(), QLabel()
        self._preview = Preview(self._document, self.settings)

    def _lay_out(self) -> None:
        left, right, columns = QVBoxLayout(), QVBoxLayout(), QHBoxLayout()
        columns.addLayout(left)
        columns.addLayout(right)
        self._lines.addLayout(columns)
        self._group(
            _("Print size"),
            (
                (_("&Preset"), self._preset),
                (_("&Width"), self._width),
                (_("&Height"), self._height),
                (_("&Unit"), self._unit),
                ("", self._chain),
                (_("&Resolution (ppi)"), self._ppi),
                ("", self._pixels),
                (_("&Fit"), self._fit),
            ),
            left,
        )
        self._group(
            _("Viewed from"), ((_("&Viewed from"), self._distance), ("", self._advice)), left
        )
        self._group(
            _("Enhancing"),
            (
                (_("St&yle"), self._style),
                (_("Rep&air"), self._repair),
                (_("De&blur"), self._deblur),
            ),
            right,
        )
        self._group(
            _("Apply to"), ((_("Appl&y to"), self._source), (_("Feat&her"), self._feather)), right
        )
        self._group(
            _("Output sharpening"),
            ((_("&Medium"), self._medium), (_("S&trength"), self._strength)),
            right,
        )
        self._group(
            _("Result"), ((_("Resu&lt"), self._result), (_("Compute &on"), self._device)), right
        )
        left.addStretch(1)
        right.addStretch(1)
        self._lines.addWidget(self._cost)
        self._lines.addWidget(self._preview)
        self._finish_layout()

    def _connect(self) -> None:
        for box in (
            self._preset, self._fit, self._style, self._source, self._medium, self._strength,
            self._result, self._device,
        ):  # fmt: skip
            box.currentIndexChanged.connect(self._update)
        for spin in (self._ppi, self._distance, self._repair, self._deblur, self._feather):
            spin.valueChanged.connect(self._update)
        self._width.valueChanged.connect(lambda: self._side_changed("width"))
        self._height.valueChanged.connect(lambda: self._side_changed("height"))
        self._chain.toggled.connect(lambda: self._side_changed(self._leader))
        self._unit.currentIndexChanged.connect(self._unit_changed)

    # -- values ------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """What the widgets hold; a side that follows is 0."""
        keeps = self._chain.isChecked()
        repair, deblur = self._repair.value(), self._deblur.value()
        return Settings(
            preset=self._preset.currentData(),
            width=0.0 if keeps and self._leader == "height" else self._width.value(),
            height=0.0 if keeps and self._leader == "width" else self._height.value(),
            unit=self._unit.currentData(),
            ppi=float(self._ppi.value()),
            fit=self._fit.currentData(),
            distance_cm=self._distance.value(),
            style=self._style.currentData(),
            repair=None if repair < 0 else repair,
            deblur=None if deblur < 0 else deblur,
            source=self._source.currentData(),
            feather_mm=self._feather.value(),
            medium=self._medium.currentData(),
            strength=self._strength.currentData(),
            result=self._result.currentData(),
            device=self._device.currentData(),
        )

    def set_settings(self, settings: Settings) -> None:
        """Show these values."""
        self._busy = True
        for box, value in (
            (self._preset, settings.preset), (self._unit, settings.unit),
            (self._fit, settings.fit), (self._style, settings.style),
            (self._source, settings.source), (self._medium, settings.medium),
            (self._strength, settings.strength), (self._result, settings.result),
            (self._device, settings.device),
        ):  # fmt: skip
            box.setCurrentIndex(max(0, box.findData(value)))
        self._ppi.setValue(round(settings.ppi))
        self._distance.setValue(settings.distance_cm)
        self._repair.setValue(-1 if settings.repair is None else settings.repair)
        self._deblur.setValue(-1 if settings.deblur is None else settings.deblur)
        self._feather.setValue(settings.feather_mm)
        width, height, unit = settings.width, settings.height, settings.unit
        self._chain.setChecked(not (width and height))
        self._leader = "height" if height and not width else "width"
        if not width and not height:  # 100 cm on the long side
            landscape = self._canvas.width >= self._canvas.height
            self._leader, unit = "width" if landscape else "height", "cm"
            self._unit.setCurrentIndex(self._unit.findData("cm"))
            width = height = 100.0
        self._unit_shown = unit
        self._width.setValue(width)
        self._height.setValue(height)
        self._busy = False
        self._side_changed(self._leader)

    def _side_changed(self, leader: str) -> None:
        if self._busy:
            return
        self._leader = leader
        if self._chain.isChecked():
            width, height = self._canvas.width, self._canvas.height
            self._busy = True
            if leader == "width":
                self._height.setValue(self._width.value() * height / width)
            else:
                self._width.setValue(self._height.value() * width / height)
            self._busy = False
        self._update()

    def _unit_changed(self) -> None:
        if self._busy:
            return
        new, old = self._unit.currentData(), self._unit_shown
        per_mm = {**{u: 1 / mm for u, mm in _UNIT_MM.items()}, "px": self._ppi.value() / 25.4}
        self._unit_shown, self._busy = new, True
        for spin in (self._width, self._height):
            value = spin.value() / per_mm[old] * per_mm[new]
            spin.setDecimals(0 if new == "px" else 2)
            spin.setValue(value)
        self._busy = False
        self._update()

    def _update(self) -> None:
        """The lines that follow the values; reasons to refuse come before the run."""
        if self._busy:
            return
        settings = self.settings()
        custom = settings.preset == CUSTOM
        for widget in (self._width, self._height, self._unit, self._chain):
            widget.setEnabled(custom)
        self._feather.setEnabled(settings.source == "selection")
        self._strength.setEnabled(settings.medium != "none")
        try:
            plan = make_plan(self._canvas, settings)
            source = run.active_source(settings)
            job = layer_job(plan, source.rect)
            layout = run.build_request(source, job, plan, settings).layout
        except (ValueError, WallprintError) as error:
            self.refusal_line.setText(str(error))
            self.ok_button.setEnabled(False)
            return
        self.refusal_line.setText("")
        self.ok_button.setEnabled(True)
        self._pixels.setText(
            _("{width} × {height} px, {megapixels:.1f} MP, {scale:.2f}×").format(
                width=plan.out.width,
                height=plan.out.height,
                megapixels=plan.megapixels,
                scale=plan.placement.scale,
            )
        )
        self._advice.setText(
            _("From {distance:.0f} cm: {needed:.0f} ppi are enough; {ppi:g} ppi hold to "
              "{near:.0f} cm.").format(
                distance=plan.distance_mm / 10,
                needed=plan.needed_ppi,
                ppi=plan.ppi,
                near=plan.holds_to_mm / 10,
            )
        )  # fmt: skip
        self._cost.setText(
            _("Forecast: {time}, {size:.0f} MB for the print's pixels.").format(
                time=_duration(*forecast.seconds(settings, job.placement)),
                size=plan.bytes(layout) / 1e6,
            )
        )
        self._preview.changed(plan, settings)

    def done(self, result):
        """Closing ends a running preview."""
        self._preview.stop()
        super().done(result)


def _duration(seconds: float, known: bool) -> str:
    if seconds < 90:
        time = _("about {count} s").format(count=max(1, round(seconds)))
    else:
        time = _("about {count} min").format(count=round(seconds / 60))
    return time if known else _("{time} without a graphics card (first estimate)").format(time=time)


def source_text(source) -> str:
    """The document, the layer and the selection in one line."""
    selection = _("none")
    if source.selection is not None:
        selection = f"{source.selection.width()} × {source.selection.height()} px"
    return _(
        "Source {width} × {height} px, {depth}, {profile}. Layer “{layer}”. Selection: {selection}."
    ).format(
        width=source.document.width(),
        height=source.document.height(),
        depth=f"{source.space.model} {source.space.depth}",
        profile=source.space.profile,
        layer=source.node.name(),
        selection=selection,
    )

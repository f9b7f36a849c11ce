"""The folded part of the dialog: network, tile, printer, device, and the test of the connection."""

from __future__ import annotations

from wallprint_protocol.print_plan import Settings
from wallprint_protocol.print_size import PRINTER_FAMILIES

from .base_dialog import DEVICES
from .connection_test import ConnectionTest
from .qt import (
    QComboBox,
    QGridLayout,
    QSpinBox,
    Qt,
    QToolButton,
    QVBoxLayout,
    QWidget,
    pyqtSignal,
)
from .texts import N_, _
from .widgets import choice, choose, labelled

_PRINTERS = {
    "none": N_("Off"),
    "300": N_("Canon, HP: 300 or 600 ppi"),
    "360": N_("Epson: 360 or 720 ppi"),
}
_LEAST_TILE_PX = 64
_MOST_TILE_PX = 4096
_OWN = ("model", "tile_px", "printer", "device")


class Advanced(QWidget):
    """A button that unfolds the rest; unfolded from the start when a value is not the default.

    Args:
        settings: gives the dialog's present values.
    """

    changed = pyqtSignal()
    unfolded = pyqtSignal()

    def __init__(self, settings):
        super().__init__()
        self._button = QToolButton()
        self._button.setText(_("Adva&nced"))
        self._button.setCheckable(True)
        self._button.setAutoRaise(True)
        self._button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._button.toggled.connect(self._fold)
        self._model = QComboBox()
        self._model.setEditable(True)
        self._model.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._model.lineEdit().setPlaceholderText(_("the style's own"))
        self._tile = QSpinBox()
        self._tile.setRange(_LEAST_TILE_PX - 1, _MOST_TILE_PX)
        self._tile.setSpecialValueText(_("automatic"))
        self._tile.setSuffix(" px")
        self._tile.setKeyboardTracking(False)
        self._printer = choice({f: _PRINTERS[f] for f in PRINTER_FAMILIES}, "none")
        self._device = choice(DEVICES, "auto")
        self._test = ConnectionTest(settings, self._offer)
        self._part = QWidget()
        self._lay_out()
        self._model.editTextChanged.connect(self.changed)
        for signal in (
            self._tile.valueChanged,
            self._printer.currentIndexChanged,
            self._device.currentIndexChanged,
        ):
            signal.connect(lambda _value: self.changed.emit())
        self._fold(False)

    def _lay_out(self) -> None:
        grid = QGridLayout(self._part)
        grid.setContentsMargins(20, 0, 0, 0)
        grid.setHorizontalSpacing(12)
        for row, column, label, widget in (
            (0, 0, _("Network"), self._model),
            (0, 2, _("Match printer"), self._printer),
            (1, 0, _("Tile size"), self._tile),
            (1, 2, _("Device"), self._device),
        ):
            grid.addWidget(labelled(label, widget), row, column)
            grid.addWidget(widget, row, column + 1)
        grid.addWidget(self._test, 2, 0, 1, 4)
        for column in (1, 3):
            grid.setColumnStretch(column, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._button)
        column.addWidget(self._part)

    def values(self) -> dict:
        """The fields of `Settings` that are set here."""
        tile = self._tile.value()
        return {
            "model": self._model.currentText().strip(),
            "tile_px": 0 if tile < _LEAST_TILE_PX else tile,
            "printer": self._printer.currentData(),
            "device": self._device.currentData(),
        }

    def set_values(self, settings: Settings) -> None:
        """Show these."""
        self._model.setEditText(settings.model)
        self._tile.setValue(settings.tile_px or _LEAST_TILE_PX - 1)
        choose(self._printer, settings.printer)
        choose(self._device, settings.device)
        usual = Settings()
        if any(getattr(settings, name) != getattr(usual, name) for name in _OWN):
            self._button.setChecked(True)

    def stop(self) -> None:
        """End a running test."""
        self._test.stop()

    def _offer(self, networks) -> None:
        """The names that the server knows, to choose from; what is typed stays."""
        typed = self._model.currentText()
        self._model.blockSignals(True)
        self._model.clear()
        self._model.addItems(["", *networks])
        self._model.setEditText(typed)
        self._model.blockSignals(False)

    def _fold(self, unfold: bool) -> None:
        arrows = Qt.ArrowType
        self._button.setArrowType(arrows.DownArrow if unfold else arrows.RightArrow)
        self._part.setVisible(unfold)
        self.unfolded.emit()

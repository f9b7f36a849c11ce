"""The tab of what is seldom changed: network, tile, printer, device, and the connection's test."""

from __future__ import annotations

from wallprint_protocol.plan_lines import PRINTERS
from wallprint_protocol.print_plan import Settings

from .base_dialog import DEVICES
from .connection_test import ConnectionTest
from .qt import QComboBox, QFormLayout, QSpinBox, QVBoxLayout, QWidget, pyqtSignal
from .texts import _
from .widgets import choice, choose, group

_LEAST_TILE_PX = 64
_MOST_TILE_PX = 4096


class Advanced(QWidget):
    """The tab.

    Args:
        settings: gives the dialog's present values.
    """

    changed = pyqtSignal()

    def __init__(self, settings):
        super().__init__()
        self._model = QComboBox()
        self._model.setEditable(True)
        self._model.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._model.lineEdit().setPlaceholderText(_("the style's own"))
        self._tile = QSpinBox()
        self._tile.setRange(_LEAST_TILE_PX - 1, _MOST_TILE_PX)
        self._tile.setSpecialValueText(_("automatic"))
        self._tile.setSuffix(" px")
        self._tile.setKeyboardTracking(False)
        self._printer = choice(PRINTERS, "none")
        self._device = choice(DEVICES, "auto")
        self._test = ConnectionTest(settings, self._offer)
        self._lay_out()
        self._model.editTextChanged.connect(self.changed)
        for signal in (
            self._tile.valueChanged,
            self._printer.currentIndexChanged,
            self._device.currentIndexChanged,
        ):
            signal.connect(lambda _value: self.changed.emit())

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        for title, rows in (
            (_("Printer"), ((_("&Match printer"), self._printer),)),
            (
                _("Computing"),
                (
                    (_("&Network"), self._model),
                    (_("&Tile size"), self._tile),
                    (_("Dev&ice"), self._device),
                ),
            ),
        ):
            form = QFormLayout()
            for label, widget in rows:
                form.addRow(label, widget)
            column.addWidget(group(title, form))
        column.addWidget(self._test)
        column.addStretch(1)

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

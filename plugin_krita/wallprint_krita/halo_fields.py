"""What shapes the output sharpening beside medium and strength: its halo, and the paper's ink."""

from __future__ import annotations

from wallprint_protocol.print_plan import Settings
from wallprint_protocol.request import MOST_HALO_MM, MOST_SPREAD_MM

from .qt import QHBoxLayout, Qt, QWidget, pyqtSignal
from .texts import _
from .widgets import Number


class HaloFields(QWidget):
    """Both numbers side by side; 0 is automatic."""

    valueChanged = pyqtSignal()

    def __init__(self):
        super().__init__()
        automatic = _("automatic")
        self._halo = Number(MOST_HALO_MM, suffix=" mm", decimals=2, zero=automatic)
        self._spread = Number(MOST_SPREAD_MM, suffix=" mm", zero=automatic)
        width = _("Width of the sharpening's halo on paper, fitted to the picture")
        sigma = _("How far ink spreads on the paper, measured, Gaussian sigma")
        for number, step, told in ((self._halo, 0.05, width), (self._spread, 0.01, sigma)):
            number.setSingleStep(step)
            number.setAccessibleName(told)
            number.setToolTip(told)
            number.valueChanged.connect(lambda _value: self.valueChanged.emit())
        self.setFocusProxy(self._halo)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._halo, 1)
        row.addWidget(self._spread, 1)

    def values(self) -> dict:
        """The fields of `Settings` that are set here."""
        return {"halo_mm": self._halo.value(), "spread_mm": self._spread.value()}

    def set_values(self, settings: Settings) -> None:
        """Show these."""
        self._halo.setValue(settings.halo_mm)
        self._spread.setValue(settings.spread_mm)

"""Sharpen Selection for Print: a handful of values."""

from __future__ import annotations

from wallprint_protocol.errors import WallprintError
from wallprint_protocol.plan_lines import MEDIA, STRENGTHS
from wallprint_protocol.print_plan import Settings

from .base_dialog import DEVICES, BaseDialog
from .halo_fields import HaloFields
from .qt import QFormLayout
from .sharpen import check_sharpen
from .texts import _
from .widgets import Amount, Number, choice, choose, group


class SharpenDialog(BaseDialog):
    """The dialog.

    Args:
        settings: to begin with.
        extra: likewise: `length_mm`, the long side of the image on paper, 0 by its resolution.
    """

    def __init__(self, settings: Settings, extra: dict, parent=None):
        super().__init__(_("Sharpen Selection for Print"), _("&Sharpen"), parent)
        self._length = Number(100_000.0, suffix=" mm", zero=_("by the document's resolution"))
        self._distance = Number(100_000.0, suffix=" cm", zero=_("1.5 diagonals"))
        self._deblur = Amount()
        self._feather = Number(1000.0, suffix=" mm")
        self._medium = choice(MEDIA, "matte")
        self._strength = choice(STRENGTHS, "standard")
        self._halo = HaloFields()
        self._device = choice(DEVICES, "auto")
        form = QFormLayout()
        for label, widget in (
            (_("&Long side of the image on paper"), self._length),
            (_("&Viewed from"), self._distance),
            (_("&Deblur"), self._deblur),
            (_("&Feather"), self._feather),
            (_("&Medium"), self._medium),
            (_("S&trength"), self._strength),
            (_("Hal&o, ink spread"), self._halo),
            (_("Device"), self._device),
        ):
            form.addRow(label, widget)
        self._lines.addWidget(group("", form))
        self.finish_layout()
        self.set_settings(settings, extra)
        self._medium.currentIndexChanged.connect(self.update_lines)
        self.look()

    def settings(self) -> Settings:
        """What the widgets hold."""
        return Settings(
            deblur=self._deblur.value(),
            feather_mm=self._feather.value(),
            distance_cm=self._distance.value(),
            medium=self._medium.currentData(),
            strength=self._strength.currentData(),
            device=self._device.currentData(),
            **self._halo.values(),
        )

    def extra(self) -> dict:
        """What the widgets hold beside the settings."""
        return {"length_mm": self._length.value()}

    def arguments(self) -> tuple:
        """What the command takes after the settings."""
        return (self._length.value(),)

    def set_settings(self, settings: Settings, extra: dict) -> None:
        """Show these values."""
        length = extra.get("length_mm", 0.0)
        self._length.setValue(length if isinstance(length, (int, float)) else 0.0)
        self._distance.setValue(settings.distance_cm)
        self._deblur.setValue(settings.deblur)
        self._feather.setValue(settings.feather_mm)
        choose(self._medium, settings.medium)
        choose(self._strength, settings.strength)
        self._halo.set_values(settings)
        choose(self._device, settings.device)

    def set_defaults(self) -> None:
        """As before anything was changed."""
        self.set_settings(Settings(), {})

    def update_lines(self) -> None:
        """Say what is in the way."""
        for widget in (self._strength, self._halo):
            widget.setEnabled(self._medium.currentData() not in ("none", "screen"))
        try:
            check_sharpen(self.source(Settings()))
        except (ValueError, WallprintError) as error:
            self.refuse(error)
        else:
            self.allow()

"""The tab about computing: printer, network, tiles, device, and a test of the chain."""

from __future__ import annotations

from collections.abc import Callable

import gi

gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, Gtk  # noqa: E402

from wallprint_protocol import client  # noqa: E402
from wallprint_protocol.errors import Cancelled, WallprintError  # noqa: E402
from wallprint_protocol.pixels import PixelLayout  # noqa: E402
from wallprint_protocol.print_plan import Settings  # noqa: E402
from wallprint_protocol.print_size import Size, place  # noqa: E402
from wallprint_protocol.request import Request  # noqa: E402

from .arguments import choices_of  # noqa: E402
from .texts import _, explain  # noqa: E402
from .turns import Turns  # noqa: E402
from .widgets import Column, line  # noqa: E402
from .window import pump  # noqa: E402

_TEST_PX = 16


class Advanced:
    """The column.

    Args:
        config: the procedure's values.
        settings: gives the dialog's present ones.
        turns: of the dialog.
    """

    def __init__(self, config, settings: Callable[[], Settings], turns: Turns) -> None:
        self._settings, self._turns = settings, turns
        column = Column(config)
        self.widget = column.widget
        column.row(_("Match printer"), column.choice("printer", choices_of("printer")))
        own = _("Name of an enlarging network; empty: the style's own")
        column.row(_("Network"), column.text("model", own))
        tile = column.number("tile", 64.0, lowest=_("automatic"))
        column.row(_("Tile si_ze (px)"), tile)
        column.row(_("Compute on"), column.choice("device", choices_of("device")))
        self._button = Gtk.Button(label=_("Test connection"), halign=Gtk.Align.START)
        self._button.connect("clicked", lambda _button: self._clicked())
        column.add(self._button)
        self._answer = line()
        column.add(self._answer)

    def _clicked(self) -> None:
        self._button.set_sensitive(False)
        self._say(_("Asking the server…"))
        self._turns.start(self.test)

    def test(self) -> None:
        """Have sixteen pixels enlarged by the chosen network on the chosen device; tell."""
        try:
            answer = self._ask()
        except Cancelled:
            return
        except (WallprintError, ValueError) as error:
            answer = explain(error).replace("\n", " ")
        if not self._turns.stopped:
            self._say(answer)
            self._button.set_sensitive(True)

    def _ask(self) -> str:
        settings = self._settings()
        size, out = Size(_TEST_PX, _TEST_PX), Size(2 * _TEST_PX, 2 * _TEST_PX)
        request = Request.build(
            size,
            PixelLayout("RGB", "u8"),
            place(size, out),
            model=settings.model,
            style=settings.style,
            device=settings.device,
            repair=0,
            deblur=0,
            sharpen="none",
        )
        with client.connect(
            on_status=lambda text: self._say(_(text)),
            should_cancel=self._should_cancel,
            editor="GIMP",
            editor_version=Gimp.version(),
        ) as link:
            names = [model["id"] for model in link.models() if model.get("kind") == "enlarge"]
            result = client.enhance(
                request,
                lambda rect: bytes(3 * rect.size.pixels),
                lambda rect, pixels: None,
                should_cancel=self._should_cancel,
                connection=link,
            )
            version = link.status()["version"]
        answer = _("wallprint {version} answers and computes on {device}.").format(
            version=version, device=result.report["device"]
        )
        return answer + "\n" + _("Networks: {names}.").format(names=", ".join(names))

    def _should_cancel(self) -> bool:
        pump()
        return self._turns.should_end()

    def _say(self, text: str) -> None:
        if not self._turns.stopped:
            self._answer.set_text(text)

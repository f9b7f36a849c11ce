"""The folded part of the dialog: network, tiles, printer, device, and a test of the chain."""

from __future__ import annotations

from collections.abc import Callable

import gi

gi.require_version("Gtk", "3.0")
from gi.repository import Gimp, GLib, Gtk  # noqa: E402

from wallprint_protocol import client  # noqa: E402
from wallprint_protocol.errors import Cancelled, WallprintError  # noqa: E402
from wallprint_protocol.pixels import PixelLayout  # noqa: E402
from wallprint_protocol.print_plan import Settings  # noqa: E402
from wallprint_protocol.print_size import Size, place  # noqa: E402
from wallprint_protocol.request import Request  # noqa: E402

from .texts import _, explain  # noqa: E402
from .widgets import Rows  # noqa: E402
from .window import pump  # noqa: E402

_TEST_PX = 16
_DEFAULTS = {"model": "", "tile": 0, "printer": "none", "device": "auto"}


class Advanced:
    """An expander; open from the start when one of its values is not the default.

    Args:
        dialog: the procedure's.
        config: its values.
        rows: makes the rows.
        settings: gives the dialog's present values.
    """

    def __init__(self, dialog, config, rows: Rows, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._running = self._stopped = False
        tile = rows.spin("tile", _("Tile si_ze (px)"), _("automatic"), 4096.0, 64.0)
        self._button = Gtk.Button(label=_("Test connection"), halign=Gtk.Align.START)
        self._button.connect("clicked", lambda _button: GLib.idle_add(self.test))
        self._answer = Gtk.Label(xalign=0.0)
        self._answer.set_line_wrap(True)
        self._answer.set_max_width_chars(46)
        content = ["model", tile, "printer", "device", self._button, self._answer]
        box = rows.box("advanced-content", content)
        box.set_margin_top(6)
        box.set_margin_start(12)
        self.widget = Gtk.Expander.new_with_mnemonic(_("Ad_vanced"))
        self.widget.add(box)
        used = any(config.get_property(name) != value for name, value in _DEFAULTS.items())
        self.widget.set_expanded(used)
        self.widget.show()
        box.show()

    def stop(self) -> None:
        """The dialog goes away: end a running test."""
        self._stopped = True

    def test(self) -> bool:
        """Have sixteen pixels enlarged by the chosen network on the chosen device; say how it went.

        Returns False (an idle call).
        """
        if self._running:
            return False
        self._running = True
        self._button.set_sensitive(False)
        self._say(_("Asking the server…"))
        try:
            answer = self._ask()
        except Cancelled:
            return False
        except (WallprintError, ValueError) as error:
            answer = explain(error).replace("\n", " ")
        finally:
            self._running = False
        if not self._stopped:
            self._say(answer)
            self._button.set_sensitive(True)
        return False

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
        return self._stopped

    def _say(self, text: str) -> None:
        if not self._stopped:
            self._answer.set_text(text)

"""How far the picture's detail reaches, measured by the server while the dialog is open."""

from __future__ import annotations

from collections.abc import Callable

from gi.repository import Gimp

from wallprint_protocol import client
from wallprint_protocol.detail_budget import Detail, measure_request
from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.print_plan import Settings
from wallprint_protocol.print_size import Size

from . import pixels, run
from .texts import _, explain
from .turns import Turns
from .window import pump


class DetailMeter:
    """Measures the layer, or the visible picture, once each.

    Args:
        image: the document.
        layer: the active layer.
        turns: of the dialog.
        on_change: called when there is more to say.

    Attributes:
        status: what to say while there is no measurement.
    """

    def __init__(
        self, image: Gimp.Image, layer: Gimp.Layer, turns: Turns, on_change: Callable[[], None]
    ) -> None:
        self._image, self._layer, self._turns, self._on_change = image, layer, turns, on_change
        self._found: dict[bool, Detail] = {}
        self._asked_for: set[bool] = set()
        self.status = _("Measuring the picture's detail…")

    def detail(self, settings: Settings) -> Detail | None:
        """Of what would be enlarged; None while it is being measured."""
        visible = settings.source == "visible"
        if visible not in self._asked_for:
            self._asked_for.add(visible)
            self._turns.start_background(lambda: self._measure(settings))
        return self._found.get(visible)

    def _measure(self, settings: Settings) -> None:
        visible = settings.source == "visible"
        try:
            found = self._ask(settings)
        except Cancelled:
            if not self._turns.stopped:
                self._turns.start_background(lambda: self._measure(settings))
            return
        except (WallprintError, ValueError) as error:
            self.status = explain(error).replace("\n", " ")
        else:
            self._found[visible] = found
        if not self._turns.stopped:
            self._on_change()

    def _ask(self, settings: Settings) -> Detail:
        with run.source_of(self._image, self._layer, settings) as source:
            size = Size(source.rect.width, source.rect.height)
            with client.connect(
                should_cancel=self._should_cancel, editor="GIMP", editor_version=Gimp.version()
            ) as link:
                result = client.enhance(
                    measure_request(size, source.format.layout),
                    pixels.reader(source.drawable, source.format.name),
                    lambda _rect, _pixels: None,
                    should_cancel=self._should_cancel,
                    connection=link,
                )
        return Detail.from_map(result.report["detail"])

    def _should_cancel(self) -> bool:
        pump()
        return self._turns.should_end(background=True)

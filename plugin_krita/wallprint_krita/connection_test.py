"""The button that asks the server: one very small job, with the device and the network chosen.

What it says is what a print would meet. Krita's event loop goes on meanwhile.
"""

from __future__ import annotations

from krita import Krita

from wallprint_protocol import client
from wallprint_protocol.errors import Cancelled
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request

from .job import Job
from .qt import QHBoxLayout, QPushButton, QWidget
from .texts import _, explain
from .widgets import line

_SIDE_PX = 16


class ConnectionTest(QWidget):
    """The button and its line.

    Args:
        settings: gives the dialog's present values.
        on_networks: gets the names of the enlarging networks that the server knows.
    """

    def __init__(self, settings, on_networks):
        super().__init__()
        self._settings, self._on_networks, self._job = settings, on_networks, None
        self.button = QPushButton(_("Test connection"))
        self.button.setAutoDefault(False)
        self.button.clicked.connect(lambda: self.start())
        self.line = line()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.button)
        row.addWidget(self.line, 1)

    def start(self) -> None:
        """Ask; the answer comes into the line."""
        if self._job is not None and self._job.running:
            return
        settings = self._settings()
        self.button.setEnabled(False)
        self.line.setText(_("Asking the server…"))
        self._job = Job(lambda job: _ask(job, settings), self._on_news, self._end)

    def stop(self) -> None:
        """End a running test."""
        if self._job is not None:
            self._job.cancel()

    def _on_news(self, news) -> None:
        if isinstance(news, str):
            self.line.setText(_(news))
        elif news.phase == "queued" and news.queue_pos:
            waiting = _("Waiting: {count} jobs before this one")
            self.line.setText(waiting.format(count=news.queue_pos))

    def _end(self, answer, error) -> None:
        self.button.setEnabled(True)
        if isinstance(error, Cancelled):
            self.line.setText("")
        elif error is not None:
            self.line.setText(explain(error))
        else:
            device, version, networks = answer
            self._on_networks(networks)
            self.line.setText(
                _("wallprint {version} answers and computes on {device}.").format(
                    version=version, device=device
                )
            )


def _ask(job: Job, settings):
    """In the job's thread: (device, version, names of networks)."""
    size = Size(_SIDE_PX, _SIDE_PX)
    request = Request.build(
        size,
        PixelLayout("GRAY", "u8"),
        place(size, Size(2 * _SIDE_PX, 2 * _SIDE_PX)),
        style=settings.style,
        model=settings.model,
        device=settings.device,
        repair=0,
        deblur=0,
        sharpen="none",
    )
    with job.connect(Krita.instance().version()) as link:
        networks = [m["id"] for m in link.models() if m.get("kind") == "enlarge"]
        result = client.enhance(
            request,
            lambda rect: bytes(rect.width * rect.height),
            lambda _rect, _pixels: None,
            connection=link,
            **job.options(),
        )
        return result.report.get("device", ""), link.status().get("version", ""), networks

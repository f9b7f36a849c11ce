"""The spot: a small part of the print, computed by the server, before and after.

The server gets the layer and a window of it; the pixels are those of the full run. "Before" is the
same spot with an empty selection, which the server enlarges plainly. For the screen a node outside
the document converts: Krita's own colour management.
"""

from __future__ import annotations

from dataclasses import replace

from krita import Krita

from wallprint_protocol import client
from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import layer_job, spot
from wallprint_protocol.print_size import Size
from wallprint_protocol.request import Request

from . import pixels
from .job import BlockReader, BlockWriter, Job
from .qt import QFrame, QHBoxLayout, QLabel, QPainter, QPixmap, Qt, QVBoxLayout, QWidget, point_of
from .texts import _, explain
from .widgets import line

_SPOT = Size(400, 220)
_THUMB_PX = 140
_SAMPLED_PX = 4 * _THUMB_PX
_SMALL_PX = 2_000_000  # Krita's own thumbnail of it takes a tenth of a second
_MASK = PixelLayout("GRAY", "u8")


def _thumbnail(document):
    """The visible picture, small."""
    width, height = document.width(), document.height()
    if width * height <= _SMALL_PX:
        return document.thumbnail(_THUMB_PX, _THUMB_PX)
    scale = _THUMB_PX / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return pixels.sampled(document, _SAMPLED_PX).thumbnail(*size)


class _Clickable(QLabel):
    """A label that reports clicks and drags as fractions of its picture."""

    def __init__(self, on_point):
        super().__init__()
        self._on_point = on_point
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)

    def mousePressEvent(self, event):
        """A click."""
        self._report(point_of(event))

    def mouseMoveEvent(self, event):
        """A drag."""
        self._report(point_of(event))

    def _report(self, position):
        picture, corner = self.pixmap(), self.contentsRect().topLeft()
        if picture is not None and picture.width():
            ratio = picture.devicePixelRatio()
            x = (position.x() - corner.x()) * ratio / picture.width()
            y = (position.y() - corner.y()) * ratio / picture.height()
            self._on_point(min(1.0, max(0.0, x)), min(1.0, max(0.0, y)))


class Preview(QWidget):
    """Thumbnail to choose the spot, the spot with a movable split, a line of text.

    Args:
        document: Krita's.
        source: gives what the settings enlarge, or raises what is in the way.
    """

    def __init__(self, document, source):
        super().__init__()
        self._document, self._source = document, source
        self._plan = self._settings = self._pictures = self._job = None
        self._next = None  # a spot that was chosen while another is being computed
        self._split = 0.5
        self._thumb = _Clickable(self.compute)
        self._picture = QPixmap.fromImage(_thumbnail(document))
        self._thumb.setPixmap(self._picture)
        self._thumb.setAccessibleName(_("Choose the spot"))
        self._thumb.setCursor(Qt.CursorShape.CrossCursor)
        self._spot = _Clickable(self._move_split)
        self._spot.setFrameShape(QFrame.Shape.StyledPanel)
        frame = 2 * self._spot.frameWidth()
        self._spot.setMinimumSize(_SPOT.width + frame, _SPOT.height + frame)
        self._spot.setCursor(Qt.CursorShape.SplitHCursor)
        self._text = line()
        self._text.setText(_("Click into the small picture to see a spot of the print at 1:1."))
        row = QHBoxLayout()
        row.addWidget(self._thumb, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self._spot, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self._text)

    def changed(self, plan, settings) -> None:
        """Values have changed: what is shown no longer holds."""
        if (plan, settings) == (self._plan, self._settings):
            return
        self._plan, self._settings = plan, settings
        self.stop()
        if self._pictures is not None:
            self._pictures = None
            self._spot.clear()
            self._text.setText(_("Values have changed; click to see the spot again."))

    def stop(self) -> None:
        """End a running job."""
        self._next = None
        if self._job is not None:
            self._job.cancel()

    def compute(self, x: float, y: float) -> None:
        """Have the spot around this point of the canvas made, 0..1 on either axis."""
        if self._plan is None:
            return
        if self._job is not None and self._job.running:
            self._next = (x, y)
            self._job.cancel()
            return
        plan, settings = self._plan, self._settings
        try:
            source = self._source(settings)
            part = self._spot_at(x, y, source, plan, settings)
            nodes = [pixels.empty_node(self._document, "spot", source.space) for _both in "ba"]
        except (WallprintError, ValueError) as error:
            self._text.setText(explain(error))
            return
        self._mark(part, source)
        self._text.setText(_("Computing the spot…"))
        self._job = Job(
            lambda job: self._work(job, source, part, nodes, plan, settings),
            lambda _news: None,
            lambda _result, error: self._end(part, nodes, error),
        )

    def _spot_at(self, x, y, source, plan, settings):
        """The spot around a point of the canvas, in the layer wherever it lies."""
        job = layer_job(plan, source.rect)
        window = job.placement.window
        centre = (
            (x * plan.canvas.width - source.rect.x - window.x) / window.width,
            (y * plan.canvas.height - source.rect.y - window.y) / window.height,
        )
        centre = tuple(min(1.0, max(0.0, value)) for value in centre)
        return spot(job, centre, _SPOT, fitted=settings.fits_halo)

    def _mark(self, part, source) -> None:
        """Frame the spot in the small picture."""
        window, inner, rect = part.placement.window, part.inner, part.placement.rect
        across = self._picture.width() / self._document.width()
        down = self._picture.height() / self._document.height()
        x_step, y_step = window.width / rect.width, window.height / rect.height
        left = source.rect.x + window.x + (inner.x - rect.x) * x_step
        top = source.rect.y + window.y + (inner.y - rect.y) * y_step
        width = max(2, round(inner.width * x_step * across))
        height = max(2, round(inner.height * y_step * down))
        marked = QPixmap(self._picture)
        painter = QPainter(marked)
        for colour, grow in ((Qt.GlobalColor.black, 1), (Qt.GlobalColor.white, 0)):
            painter.setPen(colour)
            painter.drawRect(
                round(left * across) - grow, round(top * down) - grow,
                width + 2 * grow, height + 2 * grow,
            )  # fmt: skip
        painter.end()
        self._thumb.setPixmap(marked)

    def _work(self, job, source, part, nodes, plan, settings):
        """In the job's thread: before, then after; first a draft of it when blur is removed."""
        with job.connect(Krita.instance().version()) as link:

            def make(node, **how):
                return self._make(job, link, source, part, node, plan, settings, **how)

            make(nodes[0], plain=True)
            draft = settings.deblur != 0
            report = make(nodes[1], draft=draft)
            if draft and report.get("deblur"):  # else it is what the whole would be
                job.main.call(lambda: self._first_look(part, nodes, plan))
                make(nodes[1])

    def _make(self, job, link, source, part, node, plan, settings, *, plain=False, draft=False):
        """One picture of the spot into a node; the server's report."""
        size, layout, read_mask = source.rect.size, source.space.layout, None
        if plain:
            read_mask = lambda rect: bytes(rect.width * rect.height)  # noqa: E731
            settings = replace(settings, medium="none")  # or a halo would be fitted for nothing
        elif settings.source == "selection":
            fetch = pixels.selection_reader(source.selection, source.rect)
            read_mask = BlockReader(job.main, fetch, size, 1)
        request = Request.build(
            size,
            layout,
            part.placement,
            selection=_MASK if read_mask else None,
            draft=draft,
            **settings.job_options(plan),
        )
        writer = BlockWriter(job.main, node, 0, 0)
        reader = BlockReader(job.main, source.read, size, layout.bytes_per_pixel)
        result = client.enhance(
            request, reader, writer, read_selection=read_mask, connection=link, **job.options()
        )
        writer.flush()
        return result.report

    def _first_look(self, part, nodes, plan) -> None:
        if plan is self._plan:
            self._show_nodes(part, nodes)
            self._text.setText(_("A first look; the whole is being computed…"))

    def _show_nodes(self, part, nodes) -> None:
        out, inner = part.placement.out, part.inner
        self._pictures = [
            QPixmap.fromImage(node.thumbnail(out.width, out.height)).copy(
                inner.x, inner.y, inner.width, inner.height
            )
            for node in nodes
        ]
        self._show()

    def _end(self, part, nodes, error) -> None:
        if self._next is not None:
            (x, y), self._next = self._next, None
            self.compute(x, y)
            return
        if isinstance(error, Cancelled):
            self._text.setText(_("Values have changed; click to see the spot again."))
            return
        if error is not None:
            self._text.setText(explain(error))
            return
        self._text.setText(_("Left: plainly enlarged. Right: the print. Drag the line."))
        self._show_nodes(part, nodes)

    def _move_split(self, x: float, _y: float) -> None:
        self._split = x
        self._show()

    def _show(self) -> None:
        if self._pictures is None:
            return
        before, after = self._pictures
        middle = round(after.width() * self._split)
        joined = QPixmap(after)
        painter = QPainter(joined)
        painter.drawPixmap(0, 0, before, 0, 0, middle, after.height())
        painter.setPen(Qt.GlobalColor.white)
        painter.drawLine(middle, 0, middle, after.height())
        painter.end()
        joined.setDevicePixelRatio(self.devicePixelRatioF())  # 1:1 on any screen
        self._spot.setPixmap(joined)

"""Sharpen Selection for Print: a sharpened copy of the layer above it; one step of undo."""

from __future__ import annotations

from krita import Krita

from wallprint_protocol import client
from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import Settings, same_size, sharpen_options
from wallprint_protocol.print_size import Rect
from wallprint_protocol.request import Request

from . import pixels
from .job import BlockReader, BlockWriter, Job, cropped
from .run import Source, active_source, canvas_of
from .texts import _

_SHARPEN_REACH_PX = 160  # around the selection: more than deblurring and sharpening look at
_MASK = PixelLayout("GRAY", "u8")


def check_sharpen(source: Source) -> None:
    """Whether the selection can be sharpened.

    Raises:
        BadInput: it cannot; says why.
    """
    if source.selection is None:
        raise BadInput(_("Nothing is selected; select what is to be sharpened."))
    if source.node.type() != "paintlayer":
        raise BadInput(_("Only paint layers can be sharpened; convert the layer first."))
    source.space.layout  # noqa: B018 - it refuses what the server cannot take


class Sharpen:
    """The command, started at once; `on_end(result, error)` follows."""

    def __init__(self, settings: Settings, print_long_side_mm: float, on_progress, on_end) -> None:
        self._on_end = on_end
        self.undo_steps = 1
        self._source = source = active_source(Settings())
        check_sharpen(source)
        canvas = canvas_of(source.document)
        if not print_long_side_mm:
            document, wide = source.document, canvas.width >= canvas.height
            ppi = document.xRes() if wide else document.yRes()
            print_long_side_mm = max(canvas.width, canvas.height) * 25.4 / ppi
        options = sharpen_options(canvas, settings, print_long_side_mm)
        feather_px = options["feather_mm"] * options["ppi"] / 25.4
        self._region = self._selected_region(_SHARPEN_REACH_PX + 4 * feather_px)
        self._inner = self._selected_region(4 * feather_px)
        self._request = Request.build(
            self._region.size,
            source.space.layout,
            same_size(self._region.size),
            selection=_MASK,
            **options,
        )
        self._new = source.node.duplicate()
        self._new.setName(_("{name} sharpened").format(name=source.node.name()))
        self.job = Job(self._work, on_progress, self._end)

    def _selected_region(self, margin_px: float) -> Rect:
        """The part of the layer that the selection and a margin around it cover."""
        chosen, own = self._source.selection, self._source.rect
        margin = round(margin_px)
        left = max(own.x, chosen.x() - margin)
        top = max(own.y, chosen.y() - margin)
        right = min(own.x + own.width, chosen.x() + chosen.width() + margin)
        bottom = min(own.y + own.height, chosen.y() + chosen.height() + margin)
        if right <= left or bottom <= top:
            raise BadInput(_("The selection lies outside the layer; select a part of it."))
        return Rect(left, top, right - left, bottom - top)

    def _work(self, job: Job) -> client.Result:
        source, request, region = self._source, self._request, self._region
        own = pixels.node_reader(source.node, region, own=True)  # the copy has the same masks
        mask = pixels.selection_reader(source.selection, region)
        writer = BlockWriter(job.main, self._new, region.x, region.y)
        pixel_bytes = request.layout.bytes_per_pixel
        inner = self._inner  # beyond it the copy keeps its very bits
        inner = Rect(inner.x - region.x, inner.y - region.y, inner.width, inner.height)
        with job.connect(Krita.instance().version()) as link:
            result = client.enhance(
                request,
                BlockReader(job.main, own, region.size, pixel_bytes),
                cropped(writer, pixel_bytes, inner),
                read_selection=BlockReader(job.main, mask, region.size, 1),
                connection=link,
                **job.options(),
            )
        writer.flush()
        return result

    def _end(self, result, error) -> None:
        if error is None:
            parent = self._source.node.parentNode()
            if parent is None:
                error = BadInput(_("The layer was removed meanwhile; nothing was changed."))
            else:
                parent.addChildNode(self._new, self._source.node)
                self._source.document.refreshProjection()
        self._on_end(result, error)

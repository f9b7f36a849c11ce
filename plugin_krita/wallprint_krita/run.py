"""Enhance for Wall Print: read the node, have it enhanced, put the result into the document.

Results stream into a node that is not in the document yet; the document changes only when the
whole result is there, and then in steps that Krita can undo: the image scaled, cut or widened where
it must be, the layer added, the old one removed where it is replaced. Writing into a present layer
would be no step at all, so that is never done.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from krita import Krita

from wallprint_protocol import client, forecast
from wallprint_protocol.errors import BadInput, Cancelled
from wallprint_protocol.passport import Passport
from wallprint_protocol.passport_in_file import sharpening_of_file
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_plan import (
    LayerJob,
    Plan,
    Settings,
    canvas_geometry,
    layer_job,
    make_plan,
)
from wallprint_protocol.print_record import PrintRecord
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request
from wallprint_protocol.row_hash import RowHash

from . import passports, pixels
from .files import KeptRows
from .job import BlockReader, BlockWriter, Job
from .qt import QTimer
from .texts import N_, _

_SHOWN_MS = 40
_MASK = PixelLayout("GRAY", "u8")


@dataclass(frozen=True)
class Source:
    """What is enlarged.

    Attributes:
        document: of Krita.
        node: the active layer; the result goes above it.
        space: colour space of the bytes.
        rect: where they lie on the canvas.
        read: reads them, in the main thread.
        selection: Krita's, or None.
    """

    document: object
    node: object
    space: pixels.Space
    rect: Rect
    read: pixels.Read
    selection: object


def canvas_of(document) -> Size:
    """Width and height."""
    return Size(document.width(), document.height())


def plan_of(document, settings: Settings) -> Plan:
    """The print that the settings make of this document.

    Raises:
        PrintSizeError: it cannot be made.
    """
    resolution = (document.xRes(), document.yRes())  # of Krita, px per inch
    return make_plan(canvas_of(document), settings, resolution=resolution)


def active_source(settings: Settings) -> Source:
    """The active document's source.

    Raises:
        BadInput: there is none, or it cannot be used.
    """
    if settings.source == "visible" and settings.result == "replace":
        raise BadInput(
            _("The visible picture cannot replace a layer; choose another result or the layer.")
        )
    document = Krita.instance().activeDocument()
    node = document.activeNode() if document else None
    if node is None:
        raise BadInput(_("No document is open; open a picture first."))
    if node.type().endswith("mask"):
        raise BadInput(_("A mask is selected; select the layer itself."))
    selection = document.selection()
    if settings.source == "selection" and selection is None:
        raise BadInput(_("Nothing is selected; make a selection or choose the whole layer."))
    if settings.source == "visible":
        whole = Rect(0, 0, document.width(), document.height())
        space, read = pixels.space_of(document), pixels.document_reader(document)
        return Source(document, node, space, whole, read, selection)
    rect = pixels.rect_of(node)
    space, read = pixels.space_of(node), pixels.node_reader(node, rect)
    return Source(document, node, space, rect, read, selection)


def earlier_sharpening(source: Source, settings: Settings) -> dict | None:
    """How the source was sharpened for paper by an earlier print; None when it was not."""
    document = source.document
    nodes = [source.node]
    if settings.source == "visible":
        nodes = [node for node in document.rootNode().childNodes() if node.visible()]
    found = passports.sharpening_of(document, nodes)
    return found or sharpening_of_file(document.fileName())


class Enhance:
    """Enhance for Wall Print, started at once; `on_end(result, error)` follows."""

    def __init__(self, settings: Settings, on_progress, on_end) -> None:
        self._settings = settings
        self._source = source = active_source(settings)
        self._plan = plan_of(source.document, settings)
        self._resolution = (source.document.xRes(), source.document.yRes())
        self._sharpened = earlier_sharpening(source, settings)
        self.passport = self.result = None  # there when the print is
        self.undo_steps = undo_steps(source.document, self._plan, settings)
        self._job_geometry = layer_job(self._plan, source.rect)
        self._request = build_request(source, self._job_geometry, self._plan, settings)
        self.kept = KeptRows(self._request)
        self._on_progress, self._on_end = on_progress, on_end
        shown = _("Visible") if settings.source == "visible" else source.node.name()
        name = shown if settings.result == "replace" else _("{name} for print").format(name=shown)
        self._target = source.document
        if settings.result == "new-image":
            self._target = _empty_document(source, self._plan, name)
        self._new = pixels.empty_node(self._target, name, source.space)
        self.job = Job(self._work, on_progress, self._end)

    def _work(self, job: Job) -> client.Result:
        """In the job's thread."""
        source, request = self._source, self._request
        size = request.source
        reader = BlockReader(job.main, source.read, size, request.layout.bytes_per_pixel)
        reader = self.kept.reading(reader)
        read_mask, mask_rows = None, RowHash(size.width)
        if request.selection is not None:
            fetch = pixels.selection_reader(source.selection, source.rect)
            read_mask = mask_rows.reading(BlockReader(job.main, fetch, size, 1))
        writer = BlockWriter(job.main, self._new, *self._job_geometry.offset)
        source_rows, print_rows = (
            RowHash(side.width * request.layout.bytes_per_pixel) for side in (size, request.out)
        )
        with job.connect(Krita.instance().version()) as link:
            result = client.enhance(
                request, source_rows.reading(reader), print_rows.writing(writer),
                read_selection=read_mask, connection=link, **job.options(),
            )  # fmt: skip
        writer.flush()
        self.result = result
        self.passport = Passport(
            request,
            source_sha256=source_rows.hexdigest(),
            source_is="pixels",
            pixels_sha256=print_rows.hexdigest(),
            report=result.report,
            icc=source.space.profile,
            selection_sha256=mask_rows.hexdigest() if read_mask else "",
            earlier_sharpening=self._sharpened,
        )
        return result

    @property
    def record(self) -> PrintRecord:
        """What is known of the finished print."""
        return PrintRecord(
            self.passport,
            self._settings,
            self._plan.canvas,
            self._resolution,
            self._new.name(),
            self.result.ms / 1000,
            self.result.notes,
        )

    def _end(self, result, error) -> None:
        if error is not None:
            self._close(result, error)
            return
        # Krita scales the other layers in one go: say so, and let that be seen, before.
        self._on_progress(N_("Putting the print into the document…"))
        QTimer.singleShot(_SHOWN_MS, lambda: self._put(result))

    def _put(self, result) -> None:
        error = Cancelled() if self.job.cancelled else None
        if error is None:
            try:
                self._finish()
                forecast.remember(self._settings, self._job_geometry.placement, result.ms)
            except Exception as problem:
                error = problem
        self._close(result, error)

    def read_print(self, rect: Rect) -> bytes:
        """Pixels of the print as they are in its layer now; in the main thread."""
        x, y = self._job_geometry.offset
        data = self._new.pixelData(x + rect.x, y + rect.y, rect.width, rect.height)
        return bytes(data)

    @property
    def space(self) -> pixels.Space:
        """Of source and print."""
        return self._source.space

    @property
    def folder(self) -> str:
        """Where the document is saved; "" when it is not."""
        return os.path.dirname(self._target.fileName() or self._source.document.fileName())

    def _close(self, result, error) -> None:
        if error is not None and self._target is not self._source.document:
            self._target.setModified(False)
            self._target.close()
        self._on_end(result, error)

    def _finish(self) -> None:
        source, plan, document = self._source, self._plan, self._target
        if document is not source.document:
            root = document.rootNode()
            for filled in root.childNodes():
                filled.remove()
            root.addChildNode(self._new, None)
            passports.keep(document, self._new, self.passport)
            document.refreshProjection()
            Krita.instance().activeWindow().addView(document)
            return
        if canvas_of(document) != plan.canvas or source.node.parentNode() is None:
            raise BadInput(
                _("The document was resized or the layer removed meanwhile; nothing was changed.")
            )
        if source.node.type() != "grouplayer" and self._settings.source != "visible":
            self._new.setOpacity(source.node.opacity())
            self._new.setBlendingMode(source.node.blendingMode())
            self._new.setInheritAlpha(source.node.inheritAlpha())
        self._scale(document)
        source.node.parentNode().addChildNode(self._new, source.node)
        passports.keep(document, self._new, self.passport)
        document.setActiveNode(self._new)
        if self._settings.result == "replace":
            document.waitForDone()  # or the layer would be removed before the new one is there
            source.node.remove()
        document.refreshProjection()

    def _scale(self, document) -> None:
        """Bring the other layers to the print's size; a step of undo for each of Krita's own."""
        out, ppi = self._plan.out, round(self._plan.ppi)
        scaled, (x, y) = canvas_geometry(self._plan)
        scales, cuts = _canvas_changes(document, self._plan)
        if scales:
            document.scaleImage(scaled.width, scaled.height, ppi, ppi, "Bicubic")
            document.waitForDone()
        if cuts:
            document.resizeImage(-x, -y, out.width, out.height)
            document.waitForDone()


def _canvas_changes(document, plan: Plan) -> tuple[bool, bool]:
    """Whether the canvas is scaled, and whether it is cut or widened after that."""
    scaled, offset = canvas_geometry(plan)
    ppi = round(plan.ppi)
    scales = scaled != plan.canvas or (document.xRes(), document.yRes()) != (ppi, ppi)
    return scales, offset != (0, 0) or scaled != plan.out


def undo_steps(document, plan: Plan, settings: Settings) -> int:
    """How many steps of Krita's undo take the print back; 0 when the document stays as it is."""
    if settings.result == "new-image":
        return 0
    return sum(_canvas_changes(document, plan)) + 1 + (settings.result == "replace")


def build_request(source: Source, job: LayerJob, plan: Plan, settings: Settings) -> Request:
    """The whole job for the server."""
    return Request.build(
        Size(source.rect.width, source.rect.height),
        source.space.layout,
        job.placement,
        selection=_MASK if settings.source == "selection" else None,
        **settings.job_options(plan),
    )


def _empty_document(source: Source, plan: Plan, name: str):
    """A document of the print's size in the source's colour space; nobody sees it yet."""
    space = source.space
    return Krita.instance().createDocument(
        plan.out.width,
        plan.out.height,
        name,
        space.model,
        space.depth,
        space.profile,
        float(round(plan.ppi)),
    )

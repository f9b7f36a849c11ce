"""The two commands: read the layer, have it enhanced, put the result into the document.

Results stream into a layer (or a shadow buffer) that is not part of the document yet; the document
changes only after `client.enhance` has returned, in one undo step. A cancel or an error leaves
nothing behind.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gi.repository import Gimp

from wallprint_protocol import client, forecast
from wallprint_protocol.errors import BadInput
from wallprint_protocol.passport import Passport
from wallprint_protocol.print_plan import (
    LayerJob,
    Plan,
    Settings,
    layer_job,
    make_plan,
    same_size,
    sharpen_options,
)
from wallprint_protocol.print_record import PrintRecord
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request
from wallprint_protocol.row_hash import RowHash

from . import insert, passports, pixels
from .insert import Source, canvas_of
from .texts import _

_LEAST_TILE_PX = 64
_SHARPEN_REACH_PX = 160  # around the selection: more than deblurring and sharpening look at
_FEATHER_RADIUS_PER_SIGMA = 3.5  # GIMP's feather radius is 3.5 standard deviations


class ProgressView(Protocol):
    """What shows the progress: a window of the plug-in's own, or nothing."""

    def status(self, sentence: str) -> None:
        """Say what is going on before the job."""

    def show(self, progress: client.Progress) -> None:
        """Show where the job is."""

    def should_cancel(self) -> bool:
        """Keep the window alive; whether the user asked to stop. Called every 50 ms."""


def check_layer(drawables: list[Gimp.Drawable]) -> Gimp.Layer:
    """The one layer to work on.

    Raises:
        BadInput: none, several, or a mask or channel.
    """
    if len(drawables) != 1:
        raise BadInput(_("Select one layer; several cannot be enhanced at once."))
    if not isinstance(drawables[0], Gimp.Layer):
        raise BadInput(_("A mask or channel is selected; select the layer itself."))
    return drawables[0]


def plan_of(image: Gimp.Image, settings: Settings) -> Plan:
    """The print of a document; where its pixels are not square, those of the print are.

    Raises:
        BadInput: settings that do not go with each other or with the document.
        PrintSizeError: it cannot be printed so.
    """
    if settings.source == "selection" and Gimp.Selection.is_empty(image):
        raise BadInput(_("Nothing is selected; make a selection or choose the whole layer."))
    if settings.source == "visible" and settings.result == "replace":
        raise BadInput(
            _("The visible picture cannot replace a layer; choose another result or the layer.")
        )
    if 0 < settings.tile_px < _LEAST_TILE_PX:
        raise BadInput(_("A tile has 64 to 4096 px; choose 0 for the automatic size."))
    _ok, x_ppi, y_ppi = image.get_resolution()
    return make_plan(canvas_of(image), settings, resolution=(x_ppi, y_ppi))


@contextlib.contextmanager
def source_of(image: Gimp.Image, layer: Gimp.Layer, settings: Settings) -> Iterator[Source]:
    """The source; the visible picture's temporary layer is deleted afterwards."""
    if settings.source == "visible":
        flat = Gimp.Layer.new_from_visible(image, image, _("Visible"))
        try:
            rect = Rect(0, 0, flat.get_width(), flat.get_height())
            yield Source(flat, pixels.format_of(flat), rect, layer)
        finally:
            flat.delete()
        return
    _ok, x, y = layer.get_offsets()
    rect = Rect(x, y, layer.get_width(), layer.get_height())
    yield Source(layer, pixels.format_of(layer), rect, layer)


def connect(progress: ProgressView) -> client.Connection:
    """A logged-in connection; starts the server when none runs."""
    return client.connect(
        on_status=progress.status,
        should_cancel=progress.should_cancel,
        editor="GIMP",
        editor_version=Gimp.version(),
    )


def job_request(image: Gimp.Image, source: Source, job: LayerJob, plan: Plan, settings: Settings):
    """The request, and the reader of the selection (None without one)."""
    layout, read_selection = None, None
    if settings.source == "selection":
        layout, read_selection = pixels.selection_reader(image, (source.rect.x, source.rect.y))
    request = Request.build(
        Size(source.rect.width, source.rect.height),
        source.format.layout,
        job.placement,
        selection=layout,
        icc=_icc(image),
        **settings.job_options(plan),
    )
    return request, read_selection


def _icc(image: Gimp.Image) -> bytes:
    profile = image.get_color_profile()
    return bytes(profile.get_icc_profile()) if profile else b""


@dataclass(frozen=True)
class Made:
    """A print that is in its document.

    Attributes:
        image: the document.
        layer: the print.
        record: how it came about.
        format: of its pixels and the source's.
        before: the source's pixels as they were, a layer of no layer stack; None when not kept.
        after: the print's pixels as they came, likewise.
    """

    image: Gimp.Image
    layer: Gimp.Layer
    record: PrintRecord
    format: pixels.Format
    before: Gimp.Layer | None = None
    after: Gimp.Layer | None = None

    def forget(self) -> None:
        """Let go of the kept pixels."""
        for layer in (self.before, self.after):
            if layer is not None and layer.is_valid():
                layer.delete()


def enhance(
    image: Gimp.Image,
    layer: Gimp.Layer,
    settings: Settings,
    progress: ProgressView,
    *,
    keep_pixels: bool = False,
) -> Made:
    """Enhance for Wall Print.

    Args:
        image: the document.
        layer: to be enlarged.
        settings: of the print.
        progress: shows it.
        keep_pixels: keep copies for what is made of a finished print; they share GIMP's tiles, so
            they take room only where the document changes.

    Returns:
        The print; in a new image if so asked, or if the source is indexed.
    """
    plan = plan_of(image, settings)
    _ok, x_ppi, y_ppi = image.get_resolution()
    earlier = passports.earlier_sharpening(image, layer, settings)
    before = after = None
    with source_of(image, layer, settings) as source:
        job = layer_job(plan, source.rect)
        request, read_selection = job_request(image, source, job, plan, settings)
        new_image = settings.result == "new-image" or source.format.palette
        target = insert.empty_image(image, plan, source) if new_image else image
        try:
            new = insert.empty_layer(target, source, job, settings)
            buffer = new.get_buffer()
            began_s = time.monotonic()
            result, passport = _compute(
                request,
                pixels.reader(source.drawable, source.format.name),
                pixels.writer(buffer, source.format.name),
                read_selection,
                progress,
                icc=image.get_effective_color_profile().get_label(),
                earlier=earlier,
            )
            progress.status(_("Putting the print into the document…"))
            buffer.flush()
            new.update(0, 0, new.get_width(), new.get_height())
            passports.keep(new, passport)
            if not new_image:
                insert.check_unchanged(image, source, plan)
            if keep_pixels:
                before, after = source.drawable.copy(), new.copy()
        except BaseException:
            if new_image:
                target.delete()
            elif "new" in locals():
                new.delete()
            raise
        insert.put(target, new, source, job, plan, settings, passport)
        forecast.remember(settings, job.placement, result.ms)
        name = source.drawable.get_name()
    record = PrintRecord(
        passport,
        settings,
        plan.canvas,
        (x_ppi, y_ppi),
        name,
        time.monotonic() - began_s,
        tuple(result.notes),
    )
    return Made(target, new, record, source.format, before, after)


def _compute(
    request: Request, read, write, read_selection, progress: ProgressView, *, icc: str, earlier
) -> tuple[client.Result, Passport]:
    """Have the server make the print; everything that passes by is hashed for the passport."""
    row_bytes = request.layout.bytes_per_pixel
    source_rows, print_rows = (
        RowHash(side.width * row_bytes) for side in (request.source, request.out)
    )
    mask_rows = None
    if request.selection is not None:
        mask_rows = RowHash(request.source.width * request.selection.bytes_per_pixel)
        read_selection = mask_rows.reading(read_selection)
    with connect(progress) as connection:
        result = client.enhance(
            request,
            source_rows.reading(read),
            print_rows.writing(write),
            read_selection=read_selection,
            on_progress=progress.show,
            should_cancel=progress.should_cancel,
            connection=connection,
        )
    passport = Passport(
        request,
        source_sha256=source_rows.hexdigest(),
        source_is="pixels",
        pixels_sha256=print_rows.hexdigest(),
        report=result.report,
        icc=icc,
        selection_sha256=mask_rows.hexdigest() if mask_rows else "",
        earlier_sharpening=earlier,
    )
    return result, passport


def sharpen(
    image: Gimp.Image,
    layer: Gimp.Layer,
    settings: Settings,
    print_long_side_mm: float,
    progress: ProgressView,
) -> client.Result:
    """Sharpen Selection for Print: same size, inside the selection only, undoable.

    The server sharpens the selection's surroundings whole; GIMP blends by the selection when the
    shadow buffer is merged, so what is not selected keeps its very bits in every pixel format.

    Args:
        image: the document.
        layer: changed in one undo step, through the shadow buffer.
        settings: see `print_plan.sharpen_options`.
        print_long_side_mm: intended print; 0 takes the document's own resolution.
        progress: shows it.
    """
    if Gimp.Selection.is_empty(image):
        raise BadInput(_("Nothing is selected; select what is to be sharpened."))
    if layer.is_group():
        raise BadInput(_("A layer group has no pixels of its own; select a layer in it."))
    own = pixels.format_of(layer)
    if own.palette:
        raise BadInput(_("Indexed colours cannot be sharpened; choose Image > Mode > RGB first."))
    size = pixels.size_of(layer)
    if not print_long_side_mm:
        _ok, x_ppi, y_ppi = image.get_resolution()
        print_long_side_mm = 25.4 * max(size.width / x_ppi, size.height / y_ppi)
    options = sharpen_options(size, settings, print_long_side_mm)
    feather_px = options.pop("feather_mm") * options["ppi"] / 25.4
    region = _selected_region(layer, feather_px)
    request = Request.build(
        region.size, own.layout, same_size(region.size), icc=_icc(image), **options
    )
    shadow = layer.get_shadow_buffer()
    try:
        with connect(progress) as connection:
            result = client.enhance(
                request,
                pixels.reader(layer, own.name, dx=region.x, dy=region.y),
                pixels.writer(shadow, own.name, dx=region.x, dy=region.y),
                on_progress=progress.show,
                should_cancel=progress.should_cancel,
                connection=connection,
            )
        shadow.flush()
    except BaseException:
        layer.free_shadow()
        raise
    _merge(image, layer, feather_px)
    return result


def _selected_region(layer: Gimp.Layer, feather_px: float) -> Rect:
    """The part of the layer that the selection and its surroundings cover."""
    overlaps, x, y, width, height = layer.mask_intersect()
    if not overlaps or width <= 0 or height <= 0:
        raise BadInput(_("The selection lies outside the layer; select a part of it."))
    margin = _SHARPEN_REACH_PX + round(4 * feather_px)
    left, top = max(0, x - margin), max(0, y - margin)
    right = min(layer.get_width(), x + width + margin)
    bottom = min(layer.get_height(), y + height + margin)
    return Rect(left, top, right - left, bottom - top)


def _merge(image: Gimp.Image, layer: Gimp.Layer, feather_px: float) -> None:
    """Shadow buffer -> layer inside the selection, one undo step; the selection stays as it was."""
    image.undo_group_start()
    try:
        saved = None
        if feather_px > 0:
            saved = image.get_selection().copy()  # in no list: undo must not touch what is selected
            Gimp.Selection.feather(image, _FEATHER_RADIUS_PER_SIGMA * feather_px)
        layer.merge_shadow(True)
        layer.free_shadow()
        if saved is not None:
            image.get_selection().combine_masks(saved, Gimp.ChannelOps.REPLACE, 0, 0)
            saved.delete()
        layer.update(0, 0, layer.get_width(), layer.get_height())
    finally:
        image.undo_group_end()

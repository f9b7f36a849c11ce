"""The two commands: read the layer, have it enhanced, put the result into the document.

Results stream into a layer (or a shadow buffer) that is not part of the document yet; the document
changes only after `client.enhance` has returned, in one undo step. A cancel or an error leaves
nothing behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gi.repository import Gimp

from wallprint_protocol import client, forecast
from wallprint_protocol.errors import BadInput
from wallprint_protocol.print_plan import (
    LayerJob,
    Plan,
    Settings,
    canvas_geometry,
    layer_job,
    make_plan,
    same_size,
    sharpen_options,
)
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.request import Request

from . import pixels
from .texts import _

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


@dataclass(frozen=True)
class Source:
    """What is enlarged: a layer, or the visible picture as a layer outside the document.

    Attributes:
        rect: where it lies on the canvas, px.
    """

    drawable: Gimp.Layer
    format: pixels.Format
    rect: Rect
    original: Gimp.Layer


def canvas_of(image: Gimp.Image) -> Size:
    """Width and height of the document."""
    return Size(image.get_width(), image.get_height())


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
        if Gimp.Selection.is_empty(image):
            raise BadInput(_("Nothing is selected; make a selection or choose the whole layer."))
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


def enhance(
    image: Gimp.Image, layer: Gimp.Layer, settings: Settings, progress: ProgressView
) -> tuple[Gimp.Image, Gimp.Layer, client.Result]:
    """Enhance for Wall Print.

    Returns:
        The image with the result (a new one if so asked, or if the source is indexed), the new
        layer, and what the server said.
    """
    with source_of(image, layer, settings) as source:
        plan = make_plan(canvas_of(image), settings)
        job = layer_job(plan, source.rect)
        request, read_selection = job_request(image, source, job, plan, settings)
        new_image = settings.result == "new-image" or source.format.palette
        target = _empty_image(image, plan, source) if new_image else image
        try:
            new = _empty_layer(target, source, job, settings)
            buffer = new.get_buffer()
            with connect(progress) as connection:
                result = client.enhance(
                    request,
                    pixels.reader(source.drawable, source.format.name),
                    pixels.writer(buffer, source.format.name),
                    read_selection=read_selection,
                    on_progress=progress.show,
                    should_cancel=progress.should_cancel,
                    connection=connection,
                )
            buffer.flush()
            new.update(0, 0, new.get_width(), new.get_height())
            if not new_image:
                _check_unchanged(image, source, plan)
        except BaseException:
            if new_image:
                target.delete()
            elif "new" in locals():
                new.delete()
            raise
        if new_image:
            _fill_new_image(target, new, source, job, plan)
        else:
            _insert(image, new, source, job, plan)
        forecast.remember(settings, job.placement, result.ms)
    return target, new, result


def _check_unchanged(image: Gimp.Image, source: Source, plan: Plan) -> None:
    """GIMP stays usable during a job: the result must still fit.

    Raises:
        BadInput: the image was resized, or the layer removed or moved.
    """
    layer, rect = source.original, source.rect
    same = layer.is_valid() and canvas_of(image) == plan.canvas
    if same and source.drawable == layer:
        _ok, x, y = layer.get_offsets()
        same = Rect(x, y, layer.get_width(), layer.get_height()) == rect
    if not same:
        raise BadInput(
            _("The document was resized or the layer removed meanwhile; nothing was changed.")
        )


def _empty_image(image: Gimp.Image, plan: Plan, source: Source) -> Gimp.Image:
    """A document of the print's size with the source's kind, precision, profile and the ppi."""
    gray = source.drawable.is_gray()
    base = Gimp.ImageBaseType.GRAY if gray else Gimp.ImageBaseType.RGB
    new = Gimp.Image.new_with_precision(
        plan.out.width, plan.out.height, base, image.get_precision()
    )
    new.undo_disable()
    profile = image.get_color_profile()
    if profile is not None:
        new.set_color_profile(profile)
    new.set_resolution(plan.ppi, plan.ppi)
    new.set_unit(image.get_unit())
    return new


_LAYER_TYPES = {
    "RGB": Gimp.ImageType.RGB_IMAGE,
    "RGBA": Gimp.ImageType.RGBA_IMAGE,
    "GRAY": Gimp.ImageType.GRAY_IMAGE,
    "GRAYA": Gimp.ImageType.GRAYA_IMAGE,
}


def _empty_layer(
    target: Gimp.Image, source: Source, job: LayerJob, settings: Settings
) -> Gimp.Layer:
    """A layer for the result, in no layer stack yet."""
    original, out = source.original, job.placement.out
    visible = settings.source == "visible"
    mode = Gimp.LayerMode.NORMAL if visible else original.get_mode()
    if mode == Gimp.LayerMode.PASS_THROUGH:  # groups only
        mode = Gimp.LayerMode.NORMAL
    name = _("{name} for print").format(name=source.drawable.get_name())
    kind = _LAYER_TYPES[source.format.layout.model]
    opacity = 100.0 if visible else original.get_opacity()
    new = Gimp.Layer.new(target, name, out.width, out.height, kind, opacity, mode)
    if not visible and not original.is_group():
        new.set_blend_space(original.get_blend_space())
        new.set_composite_space(original.get_composite_space())
        new.set_composite_mode(original.get_composite_mode())
    return new


def _insert(image: Gimp.Image, new: Gimp.Layer, source: Source, job: LayerJob, plan: Plan) -> None:
    """The only change of the document, one undo step: scale the others, add the result."""
    scaled, (x, y) = canvas_geometry(plan)
    image.undo_group_start()
    Gimp.context_push()
    try:
        Gimp.context_set_interpolation(Gimp.InterpolationType.CUBIC)
        parent = source.original.get_parent()
        position = image.get_item_position(source.original)
        mask = _mask_copy(image, source)  # scaled along with everything else
        image.scale(scaled.width, scaled.height)
        if (x, y) != (0, 0) or scaled != plan.out:
            image.resize(plan.out.width, plan.out.height, x, y)
        image.insert_layer(new, parent, position)
        new.set_offsets(*job.offset)
        _add_mask(new, mask, source)
        # Through a transparent result the source would shine and count twice.
        opaque = not new.has_alpha() and new.get_opacity() == 100.0 and mask is None
        if source.drawable == source.original and not opaque:
            source.original.set_visible(False)
        image.set_resolution(plan.ppi, plan.ppi)
        image.set_selected_layers([new])
    finally:
        Gimp.context_pop()
        image.undo_group_end()


def _fill_new_image(
    image: Gimp.Image, new: Gimp.Layer, source: Source, job: LayerJob, plan: Plan
) -> None:
    """The result, alone in a document of its own."""
    scaled, (x, y) = canvas_geometry(plan)
    x_scale, y_scale = scaled.width / plan.canvas.width, scaled.height / plan.canvas.height
    image.insert_layer(new, None, 0)
    new.set_offsets(*job.offset)
    mask = _mask_copy(image, source)
    if mask is not None:
        rect = source.rect
        width, height = round(rect.width * x_scale), round(rect.height * y_scale)
        Gimp.context_push()
        Gimp.context_set_interpolation(Gimp.InterpolationType.CUBIC)
        mask.scale(max(1, width), max(1, height), False)
        Gimp.context_pop()
        mask.set_offsets(x + round(rect.x * x_scale), y + round(rect.y * y_scale))
    _add_mask(new, mask, source)
    image.undo_enable()


def _mask_copy(image: Gimp.Image, source: Source) -> Gimp.Layer | None:
    """The layer mask as a layer of the image (GIMP scales nothing else), where the source lies."""
    mask = source.original.get_mask()
    if mask is None or source.drawable != source.original:
        return None
    copy = Gimp.Layer.new_from_drawable(mask, image)
    image.insert_layer(copy, None, 0)
    copy.set_offsets(source.rect.x, source.rect.y)
    return copy


def _add_mask(new: Gimp.Layer, copy: Gimp.Layer | None, source: Source) -> None:
    """Turn the scaled copy into the result's layer mask and take the copy away."""
    if copy is None:
        return
    _ok, new_x, new_y = new.get_offsets()
    _ok, x, y = copy.get_offsets()
    mask = new.create_mask(Gimp.AddMaskType.WHITE)
    pixels.copy(copy, mask, dx=new_x - x, dy=new_y - y)
    new.add_mask(mask)
    new.set_apply_mask(source.original.get_apply_mask())
    new.get_image().remove_layer(copy)


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
        _ok, x_ppi, _y_ppi = image.get_resolution()
        print_long_side_mm = max(size.width, size.height) * 25.4 / x_ppi
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
            saved = Gimp.Selection.save(image)
            Gimp.Selection.feather(image, _FEATHER_RADIUS_PER_SIGMA * feather_px)
        layer.merge_shadow(True)
        layer.free_shadow()
        if saved is not None:
            image.select_item(Gimp.ChannelOps.REPLACE, saved)
            image.remove_channel(saved)
            image.set_selected_layers([layer])
        layer.update(0, 0, layer.get_width(), layer.get_height())
    finally:
        image.undo_group_end()

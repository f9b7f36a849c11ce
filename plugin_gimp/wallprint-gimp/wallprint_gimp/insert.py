"""The result and the document: the only part that changes a document, in one undo step.

Until `put` is called the result is a layer of no layer stack, or an image that nobody sees.
"""

from __future__ import annotations

from dataclasses import dataclass

from gi.repository import Gimp

from wallprint_protocol.errors import BadInput
from wallprint_protocol.passport import Passport
from wallprint_protocol.print_plan import LayerJob, Plan, Settings, canvas_geometry
from wallprint_protocol.print_size import Rect, Size

from . import passports, pixels
from .texts import _


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


def check_unchanged(image: Gimp.Image, source: Source, plan: Plan) -> None:
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


def empty_image(image: Gimp.Image, plan: Plan, source: Source) -> Gimp.Image:
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


def empty_layer(
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


def put(
    target: Gimp.Image,
    new: Gimp.Layer,
    source: Source,
    job: LayerJob,
    plan: Plan,
    settings: Settings,
    passport: Passport,
) -> None:
    """Put the result into its image: the source's, which follows to the print's size, or a new one.

    Args:
        target: the source's image, or one from `empty_image`.
        new: the whole result.
        source: what was enlarged.
        job: where the result lies.
        plan: of the print.
        settings: whether the result takes the layer's place.
        passport: of the print; what it says of networks goes into the image's metadata.
    """
    if target.get_id() != source.original.get_image().get_id():
        _fill(target, new, source, job, plan)
        passports.tell_in_metadata(target, passport)
        target.undo_enable()
        return
    target.undo_group_start()
    Gimp.context_push()
    try:
        Gimp.context_set_interpolation(Gimp.InterpolationType.CUBIC)
        mask = _mask_copy(target, source)  # scaled along with everything else
        parent = source.original.get_parent()
        position = target.get_item_position(source.original)
        scaled, (x, y) = canvas_geometry(plan)
        target.scale(scaled.width, scaled.height)
        if (x, y) != (0, 0) or scaled != plan.out:
            target.resize(plan.out.width, plan.out.height, x, y)
        target.insert_layer(new, parent, position)
        new.set_offsets(*job.offset)
        _add_mask(new, mask, source)
        if settings.result == "replace":
            _take_place(target, new, source.original)
        # Through a transparent result the source would shine and count twice.
        elif source.drawable == source.original and not _covers(new):
            source.original.set_visible(False)
        _add_guides(target, plan)
        target.set_resolution(plan.ppi, plan.ppi)
        passports.tell_in_metadata(target, passport)
        target.set_selected_layers([new])
    finally:
        Gimp.context_pop()
        target.undo_group_end()


def _covers(new: Gimp.Layer) -> bool:
    return not new.has_alpha() and new.get_opacity() == 100.0 and new.get_mask() is None


def _take_place(image: Gimp.Image, new: Gimp.Layer, old: Gimp.Layer) -> None:
    """The result instead of the layer, under its name and with what marks it in the list."""
    name = old.get_name()
    new.set_visible(old.get_visible())
    new.set_color_tag(old.get_color_tag())
    image.remove_layer(old)
    new.set_name(name)  # two layers cannot have one name


def _add_guides(image: Gimp.Image, plan: Plan) -> None:
    """Guides where the print ends and its edges begin, and where its panels begin and end."""
    panels = [sheet.rect for sheet in plan.sheets] if len(plan.panels) > 1 else []
    parts = [*([plan.trim] if plan.edge_px else []), *panels]
    for x in sorted({at for part in parts for at in (part.x, part.x + part.width)}):
        if 0 < x < plan.out.width:
            image.add_vguide(x)
    for y in sorted({at for part in parts for at in (part.y, part.y + part.height)}):
        if 0 < y < plan.out.height:
            image.add_hguide(y)


def _fill(image: Gimp.Image, new: Gimp.Layer, source: Source, job: LayerJob, plan: Plan) -> None:
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
    _add_guides(image, plan)


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

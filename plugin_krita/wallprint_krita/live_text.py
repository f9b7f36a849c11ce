"""The lines of the dialog that follow its values, in Krita's language. Know no widgets."""

from __future__ import annotations

from wallprint_protocol import forecast
from wallprint_protocol.print_plan import LayerJob, Plan, Settings

from .run import Source
from .texts import _, with_point


def pixels_text(settings: Settings, plan: Plan) -> str:
    """Size of the result; what of it is edges, and whose resolution it has."""
    text = _("{width} × {height} px, {megapixels:.1f} MP, {scale:.2f}×").format(
        width=plan.out.width,
        height=plan.out.height,
        megapixels=plan.megapixels,
        scale=plan.placement.scale,
    )
    if plan.edge_px:
        text += "\n" + _("with edges of {edge} px; trimmed {width:.1f} × {height:.1f} cm").format(
            edge=plan.edge_px, width=plan.width_mm / 10, height=plan.height_mm / 10
        )
    if plan.ppi != settings.ppi:
        text += "\n" + _("at the printer's own {ppi:g} ppi").format(ppi=plan.ppi)
    return with_point(text)


def advice_text(plan: Plan) -> str:
    """What the viewing distance needs, and how near the resolution holds."""
    return _(
        "From {distance:.0f} cm: {needed:.0f} ppi are enough; {ppi:g} ppi hold to {near:.0f} cm."
    ).format(
        distance=plan.distance_mm / 10,
        needed=plan.needed_ppi,
        ppi=plan.ppi,
        near=plan.holds_to_mm / 10,
    )


def halo_text(settings: Settings, plan: Plan) -> str:
    """Width of the output sharpening's halo on paper."""
    if settings.sharpen == "none":
        return _("Not sharpened for paper.")
    text = _("Halo {width:.2f} mm (1/{part:.0f} in), {px:.1f} px").format(
        width=plan.halo_mm, part=25.4 / plan.halo_mm, px=plan.halo_mm * plan.ppi / 25.4
    )
    return with_point(text)


def undo_text(steps: int) -> str:
    """How often to undo."""
    if not steps:
        return _("This image stays as it is.")
    return _("Krita's steps of undo: {count}").format(count=steps)


def cost_text(settings: Settings, source: Source, job: LayerJob) -> str:
    """Time and room."""
    room = forecast.room(settings, source.space.layout, source.rect.size, job.placement)
    return _(
        "Forecast: {time}; {document} in the document, {disk} on the disk and {memory} of memory "
        "in the server meanwhile."
    ).format(
        time=_duration(*forecast.seconds(settings, job.placement)),
        document=_bytes(room.result),
        disk=_bytes(room.disk),
        memory=_bytes(room.server),
    )


def _bytes(count: int) -> str:
    if count < 999.5e6:
        return f"{max(1, round(count / 1e6))} MB"
    return with_point(f"{count / 1e9:.1f} GB")


def _duration(seconds: float, known: bool) -> str:
    if seconds < 90:
        time = _("about {count} s").format(count=max(1, round(seconds)))
    else:
        time = _("about {count} min").format(count=round(seconds / 60))
    return time if known else _("{time} without a graphics card (first estimate)").format(time=time)

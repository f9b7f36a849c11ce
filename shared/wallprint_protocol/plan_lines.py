"""What both editors' dialogs offer and say of a print: choices with their texts, and live lines.

The lines are computed from the same `Plan` that the command line tells, in the language of the
given `Words`. Knows nothing of widgets and editors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import forecast, presets
from .detail_budget import Detail
from .errors import WallprintError
from .file_formats import BIGTIFF_FROM_BYTES, FORMATS, JPEG, TIFF, file_bytes, unfit
from .pixels import PixelLayout
from .print_plan import CUSTOM, LayerJob, Plan, Settings
from .print_record import PrintRecord
from .print_size import Size, parse_print_size, px_to_mm
from .words import N_, Refusal, Sentence, Words

# A name of the user's own stands behind this in the list of presets, so that it cannot be
# mistaken for one that is built in.
OWN_PREFIX = "own:"
LEAST_PRESET_MM = 200.0  # long side; smaller sizes are typed, or named on the command line
_NM_PER_MM = 1e6

UNITS = {"cm": "cm", "mm": "mm", "in": "in", "px": "px"}
UNIT_MM = {"cm": 10.0, "mm": 1.0, "in": 25.4}  # px depends on the ppi
ORIENTATIONS = {
    "auto": N_("As the picture"),
    "portrait": N_("Portrait"),
    "landscape": N_("Landscape"),
}
FITS = {"keep": N_("Keep ratio"), "crop": N_("Crop to fill"), "pad": N_("Pad with white")}
ANCHORS = {
    "centre": N_("Centre"),
    "top": N_("Top"),
    "bottom": N_("Bottom"),
    "left": N_("Left"),
    "right": N_("Right"),
    "top-left": N_("Top left"),
    "top-right": N_("Top right"),
    "bottom-left": N_("Bottom left"),
    "bottom-right": N_("Bottom right"),
}
EDGES = {
    "none": N_("No edges"),
    "bleed": N_("Bleed, to be cut off"),
    "wrap": N_("Gallery wrap"),
}
WRAP_FILLS = {
    "mirror": N_("Mirrored picture"),
    "image": N_("Picture beyond the crop"),
    "stretch": N_("Stretched border"),
    "average": N_("Average colour"),
    "colour": N_("One colour"),
}
CUTS = {
    "none": N_("In one piece"),
    "panels": N_("Rows and columns"),
    "sheet": N_("Sheets of a width"),
}
PRINTERS = {
    "none": N_("Off"),
    "300": N_("Canon, HP: 300 or 600 ppi"),
    "360": N_("Epson: 360 or 720 ppi"),
}
STYLES = {
    "faithful": N_("Faithful: adds nothing"),
    "enhanced": N_("Enhanced: may invent detail"),
}
SOURCES = {
    "layer": N_("Active layer"),
    "visible": N_("Visible picture"),
    "selection": N_("Selection only"),
}
MEDIA = {
    "glossy": N_("Glossy paper"),
    "matte": N_("Matte or fine art paper"),
    "canvas": N_("Canvas"),
    "backlit": N_("Backlit film"),
    "screen": N_("Screen only"),
    "none": N_("None"),
}
STRENGTHS = {"low": N_("Low"), "standard": N_("Standard"), "high": N_("High")}
RESULTS = {
    "new-layer": N_("New layer, image scaled"),
    "new-image": N_("New image"),
    "replace": N_("Replace the layer"),
}
PAPERS = {"a4": "A4", "letter": "Letter"}  # of a proof


def preset_choices() -> dict[str, Sentence]:
    """Values of `Settings.preset` with their texts: as typed, the user's own, ISO, cm, inches.

    A value of the user's own begins with OWN_PREFIX; `preset_of` takes it away. The user's own are
    left out when their file cannot be used: `presets_refusal` says why.
    """
    found = {CUSTOM: Sentence(N_("Custom"))}
    try:
        own = presets.own()
    except presets.PresetsError:
        own = {}
    for name, text in own.items():
        found[OWN_PREFIX + name] = _untranslated(f"{name} ({text.replace('x', ' × ')})")
    for name in presets.built_in():
        size = parse_print_size(name)
        sides = size.width, size.height or 0
        if max(sides) < LEAST_PRESET_MM * _NM_PER_MM:
            continue
        if name in presets.ISO_MM:
            width, height = (side / _NM_PER_MM / 10 for side in sides)
            values = {"name": name, "width": width, "height": height}
            found[name] = Sentence("{name} · {width:g} × {height:g} cm", values)
        else:
            found[name] = _untranslated(f"{name[:-2].replace('x', ' × ')} {name[-2:]}")
    return found


def preset_of(value: str) -> str:
    """`Settings.preset` of a value of `preset_choices`."""
    return value[len(OWN_PREFIX) :] if value.startswith(OWN_PREFIX) else value


def presets_refusal() -> Sentence | None:
    """Why the user's own sizes cannot be offered; None when they can, or there are none."""
    try:
        presets.own()
    except presets.PresetsError as error:
        return error.sentence
    return None


def _untranslated(text: str) -> Sentence:
    return Sentence("{text}", {"text": text})


def cut_of(settings: Settings) -> str:
    """The key of CUTS that the settings amount to."""
    if settings.sheet_width_mm:
        return "sheet"
    return "panels" if settings.panel_rows * settings.panel_columns > 1 else "none"


# Live lines ------------------------------------------------------------------------------------


def pixels_line(words: Words, plan: Plan, settings: Settings) -> str:
    """Size of the result; what of it is edges, and whose resolution it has."""
    lines = [
        words.fill(
            N_("{width} × {height} px, {megapixels:.1f} MP, {scale:.2f}×"),
            width=plan.out.width,
            height=plan.out.height,
            megapixels=plan.megapixels,
            scale=plan.placement.scale,
        )
    ]
    if plan.edge_px:
        lines.append(
            words.fill(
                N_("with edges of {edge} px; trimmed {width:.1f} × {height:.1f} cm"),
                edge=plan.edge_px,
                width=plan.width_mm / 10,
                height=plan.height_mm / 10,
            )
        )
    elif settings.preset != CUSTOM or settings.unit == "px":
        lines.append(
            words.fill(
                N_("{width:.1f} × {height:.1f} cm on paper"),
                width=plan.width_mm / 10,
                height=plan.height_mm / 10,
            )
        )
    if plan.ppi != settings.ppi:
        lines.append(words.fill(N_("at the printer's own {ppi:g} ppi"), ppi=plan.ppi))
    return "\n".join(lines)


def fit_line(words: Words, plan: Plan, settings: Settings) -> str:
    """What a crop keeps of the picture, or how large it is on padded paper; "" for neither."""
    placement = plan.placement
    window, rect = placement.window, placement.rect
    if settings.fit == "crop":
        share = window.width * window.height / plan.canvas.pixels
        if share > 0.9995:
            return words.fill(N_("Nothing of the picture is cut off."))
        return words.fill(
            N_("Keeps {width:.0f} × {height:.0f} px, {share:.0f} % of the picture."),
            width=window.width,
            height=window.height,
            share=100 * share,
        )
    if settings.fit == "pad":
        return words.fill(
            N_("The picture on it is {width:.1f} × {height:.1f} cm."),
            width=px_to_mm(rect.width, plan.ppi) / 10,
            height=px_to_mm(rect.height, plan.ppi) / 10,
        )
    return ""


def advice_line(words: Words, plan: Plan) -> str:
    """What the viewing distance needs, and how near the resolution holds; both acuities."""
    return words.fill(
        N_(
            "From {distance:.0f} cm {needed:.0f} ppi are enough ({needed_sharp:.0f} for the "
            "sharpest eyes); {ppi:g} ppi hold to {near:.0f} cm ({near_sharp:.0f} cm)."
        ),
        distance=plan.distance_mm / 10,
        needed=plan.needed_ppi,
        needed_sharp=plan.needed_ppi_sharp,
        ppi=plan.ppi,
        near=plan.holds_to_mm / 10,
        near_sharp=plan.holds_to_mm_sharp / 10,
    )


def halo_line(words: Words, plan: Plan, settings: Settings) -> str:
    """Width of the output sharpening's halo on paper, and whether it was asked for."""
    if settings.sharpen == "none":
        return words.fill(N_("Not sharpened for paper."))
    text = N_("Halo {width:.2f} mm (1/{part:.0f} in), {px:.1f} px")
    if settings.fits_halo:
        text = N_("Halo {width:.2f} mm (1/{part:.0f} in), {px:.1f} px, fitted")
    return words.fill(
        text,
        width=plan.halo_mm,
        part=25.4 / plan.halo_mm,
        px=plan.halo_mm * plan.ppi / 25.4,
    )


def detail_line(words: Words, detail: Detail, job: LayerJob, ppi: float) -> str:
    """How much true detail the picture has for this print, and how large it is honest.

    Args:
        words: of the dialog.
        detail: as a server has measured it (`measure_request`).
        job: of the layer.
        ppi: of the print.
    """
    placement = job.placement
    return words.say(detail.budget(placement.window, placement.rect.size, ppi).told())


def panels_line(words: Words, plan: Plan) -> str:
    """How many papers the print has, and how large they are; "" for one without marks."""
    panels, sheets = plan.panels, plan.sheets
    parts = []
    if len(sheets) > 1:
        widest = max((sheet.size for sheet in sheets), key=lambda size: size.pixels)
        parts.append(
            words.fill(
                N_(
                    "{count} panels ({rows} × {columns}) of up to {width:.1f} × {height:.1f} cm, "
                    "overlap {overlap:.1f} mm"
                ),
                count=len(sheets),
                rows=panels.rows,
                columns=panels.columns,
                width=px_to_mm(widest.width, plan.ppi) / 10,
                height=px_to_mm(widest.height, plan.ppi) / 10,
                overlap=px_to_mm(panels.overlap_px, plan.ppi),
            )
        )
    if panels.margin_px:
        parts.append(
            words.fill(
                N_("marks on {margin:.1f} mm of white paper around"),
                margin=px_to_mm(panels.margin_px, plan.ppi),
            )
        )
    return ", ".join(parts)


def files_line(words: Words, plan: Plan, layout: PixelLayout) -> str:
    """How large a file of each format gets at most, and which cannot hold the print."""
    papers = [sheet.size for sheet in plan.sheets]
    fitting, refusals = [], []
    for form in FORMATS:
        reason = unfit(form, plan.out, layout, papers)
        if reason:
            refusals.append(words.say(reason))
            continue
        sizes = [file_bytes(form, paper, layout) for paper in papers]
        text = N_("{format} about {size}") if form is JPEG else N_("{format} up to {size}")
        fitting.append(words.fill(text, format=form.name, size=bytes_text(words, sum(sizes))))
        if form is TIFF and max(sizes) > BIGTIFF_FROM_BYTES:
            refusals.append(
                words.fill(
                    N_("Over 4 GB a TIFF is a BigTIFF, which some programs refuse."),
                )
            )
    line = words.fill(N_("As a file: {sizes}."), sizes=", ".join(fitting)) if fitting else ""
    return " ".join([line, *refusals]).strip()


def sharpened_line(words: Words, earlier: Mapping[str, Any] | None, settings: Settings) -> str:
    """A warning when a picture that was sharpened for paper would be sharpened again; else ""."""
    if not earlier or settings.sharpen == "none":
        return ""
    return words.fill(
        N_(
            "The picture was sharpened for {medium} by an earlier print; sharpening it again "
            "widens its halos. Choose “None” as the medium, or start from the original."
        ),
        medium=Sentence(MEDIA.get(str(earlier.get("medium")), N_("paper"))),
    )


def cost_line(
    words: Words, settings: Settings, layout: PixelLayout, size: Size, job: LayerJob
) -> str:
    """Time and room.

    Args:
        words: of the dialog.
        settings: of the dialog.
        layout: of the layer.
        size: of the layer, px.
        job: of the layer.
    """
    seconds, known = forecast.seconds(settings, job.placement)
    room = forecast.room(settings, layout, size, job.placement)
    time = Sentence(N_("about {count} min"), {"count": round(seconds / 60)})
    if seconds < 90:
        time = Sentence(N_("about {count} s"), {"count": max(1, round(seconds))})
    if not known:
        first = N_("{time} without a graphics card (first estimate)")
        time = Sentence(first, {"time": time})
    return words.fill(
        N_(
            "Forecast: {time}; {document} in the document, {disk} on the disk and {memory} of "
            "memory in the server meanwhile."
        ),
        time=time,
        document=bytes_text(words, room.result),
        disk=bytes_text(words, room.disk),
        memory=bytes_text(words, room.server),
    )


def bytes_text(words: Words, count: int) -> str:
    """Bytes for people."""
    if count < 999.5e6:
        return f"{max(1, round(count / 1e6))} MB"
    return words.fill("{count:.1f} GB", count=count / 1e9)


def explain(words: Words, error: Exception) -> str:
    """What was wrong: the code's sentence in the user's language, then the particulars."""
    if isinstance(error, Refusal):
        return words.say(error.sentence)
    if not isinstance(error, WallprintError):
        return str(error)
    sentence = words.translate(error.sentence)
    if error.message in ("", error.sentence):
        return sentence
    if error.code == "BAD_INPUT" and "command" not in error.detail:
        return error.message  # of the plug-in itself, in the user's language already
    return f"{sentence}\n{error.message}"


def done_lines(words: Words, record: PrintRecord) -> list[str]:
    """What came of a print, for the closing message: the print first, then what to know of it."""
    plan, report, request = record.plan, record.passport.report, record.passport.request
    lines = [
        words.fill(
            N_("{width:.1f} × {height:.1f} cm at {ppi:g} ppi, {columns} × {rows} px, {scale:.2f}×"),
            width=plan.width_mm / 10,
            height=plan.height_mm / 10,
            ppi=plan.ppi,
            columns=plan.out.width,
            rows=plan.out.height,
            scale=plan.placement.scale,
        ),
        words.fill(
            N_("Computed in {seconds:.0f} s on {device}."),
            seconds=record.seconds,
            device=report.get("device", ""),
        ),
    ]
    if report.get("detail"):
        detail = Detail.from_map(report["detail"])
        budget = detail.budget(request.window, request.rect.size, request.options.ppi)
        lines.append(words.say(budget.told()))
    seams = report.get("seams") or {}
    if seams.get("borders"):
        text = N_("All {borders} borders between tiles were compared: no seam.")
        if seams.get("left"):
            text = N_("Of {borders} borders between tiles {left} show a step; look at them.")
        lines.append(words.fill(text, borders=seams["borders"], left=seams.get("left", 0)))
    panels = panels_line(words, plan)
    if panels:
        lines.append(panels)
    return lines

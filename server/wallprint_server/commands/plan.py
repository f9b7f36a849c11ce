"""`wallprint plan`: what a print will be, in words or JSON, before anything is computed.

Every section is one function of the facts; the dialogs show the same numbers, from the same `Plan`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallprint_protocol import forecast, presets
from wallprint_protocol.errors import EXIT_DONE, BadInput
from wallprint_protocol.file_formats import (
    BIGTIFF_FROM_BYTES,
    FORMATS,
    JPEG,
    TIFF,
    check_output,
    file_bytes,
    format_of,
    unfit,
)
from wallprint_protocol.panels import Sheet
from wallprint_protocol.print_plan import Plan, Settings
from wallprint_protocol.print_size import Placement, Size, px_to_mm
from wallprint_protocol.request import Request

from ..imaging.files_in import Source, open_source
from ..imaging.files_out import output_files
from ..imaging.luma import luma_reader
from ..imaging.spooled import Spooled
from ..pipeline.detail import measure_detail
from ..print_job import plan_print
from ..terminal import tell
from .print_options import (
    add_device_option,
    add_job_options,
    add_paper_options,
    add_size_options,
    print_options_of,
)

if TYPE_CHECKING:
    from . import Subparsers

_EPILOG = """\
Takes the options of `wallprint enhance` and computes no pixel. With -o the format must hold the
print. Names for --print: %s, and your own in %s,
like {"Living room": "60x90cm"}.

--json prints one line: picture, print, detail, edges, panels, viewing, sharpening, files (by
format), forecast, notes, exit_code. Lengths are mm.
"""


@dataclass(frozen=True)
class Facts:
    """What a section may tell about."""

    source: Source
    settings: Settings
    plan: Plan
    placement: Placement
    output: Path | None


Section = tuple[str, Any, list[str]]  # key and value for --json, lines for people


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    names = [*presets.ISO_MM, *(name for name in presets.built_in() if name[0].isdecimal())]
    parser = subparsers.add_parser(
        "plan",
        parents=list(parents),
        help="say what a print will be: pixels, paper, panels, distance, file sizes",
        description="Says what a print will be, and computes no pixel of it.",
        epilog=_EPILOG % (", ".join(names), presets.own_file()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("picture", metavar="PICTURE", type=Path)
    parser.add_argument("-o", dest="output", metavar="PRINT", type=Path, help="file to be written")
    add_size_options(parser)
    add_paper_options(parser)
    add_job_options(parser)
    add_device_option(parser)
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Tell the plan; the exit code."""
    settings = print_options_of(options).settings
    if options.output is not None:
        format_of(options.output)
    with open_source(options.picture) as source:
        plan, placement = plan_print(source.size, settings)
        if options.output is not None:
            papers = [sheet.size for sheet in plan.sheets]
            check_output(options.output, plan.out, source.layout, papers)
        try:  # what `enhance` would refuse is refused here
            Request.build(source.size, source.layout, placement, **settings.job_options(plan))
        except ValueError as error:
            raise BadInput(str(error).removeprefix("params: ")) from None
        facts = Facts(source, settings, plan, placement, options.output)
        sections = [section(facts) for section in SECTIONS]
    if options.json:
        tell(json.dumps({**{key: value for key, value, _ in sections}, "exit_code": EXIT_DONE}))
    else:
        for _, _, lines in sections:
            for line in lines:
                tell(line)
    return EXIT_DONE


def _picture(facts: Facts) -> Section:
    source = facts.source
    size, layout = source.size, source.layout
    value = {
        "file": str(source.path),
        "width": size.width,
        "height": size.height,
        "layout": layout.to_map(),
    }
    depth = {"u8": "8 bit", "u16": "16 bit", "f32": "32 bit"}[layout.dtype]
    line = f"{source.path}: {size.width} x {size.height} px, {layout.model}, {depth}"
    return "picture", value, [line]


def _print(facts: Facts) -> Section:
    plan, settings, placement = facts.plan, facts.settings, facts.plan.placement
    trim, window, ppi = plan.trim, placement.window, plan.ppi
    value = {
        "width_mm": round(plan.width_mm, 3),
        "height_mm": round(plan.height_mm, 3),
        "width": trim.width,
        "height": trim.height,
        "ppi": ppi,
        "megapixels": round(trim.size.pixels / 1e6, 3),
        "scale": round(placement.scale, 4),
        "fit": settings.fit,
        "anchor": settings.anchor,
        "window": [round(n, 3) for n in (window.x, window.y, window.width, window.height)],
        "rect": [placement.rect.x, placement.rect.y, placement.rect.width, placement.rect.height],
    }
    lines = [
        f"Print:      {_cm(trim.size, ppi)}, {trim.width} x {trim.height} px at {ppi:g} ppi, "
        f"{trim.size.pixels / 1e6:.1f} megapixels, {placement.scale:.2f} times the picture"
    ]
    if ppi != settings.ppi:
        lines.append(
            f"            {ppi:g} instead of {settings.ppi:g} ppi is what the printer works at"
        )
    if settings.fit == "crop" and window.width * window.height < facts.source.size.pixels:
        lines.append(
            f"            keeps {window.width:.0f} x {window.height:.0f} px of the picture "
            f"({settings.anchor})"
        )
    if settings.fit == "pad" and placement.rect.size != placement.out:
        lines.append(
            f"            the picture on it is {_cm(placement.rect.size, ppi)} ({settings.anchor})"
        )
    return "print", value, lines


def _detail(facts: Facts) -> Section:
    source, placement = facts.source, facts.plan.placement
    with Spooled(source) as spooled:
        luma = luma_reader(spooled.raster.read, source.layout)
        detail = measure_detail(source.size, luma, placement.window)
    budget = detail.budget(placement.window, placement.rect.size, facts.plan.ppi)
    return "detail", budget.to_map(), [f"Detail:     {budget.sentence()}"]


def _edges(facts: Facts) -> Section:
    plan, settings = facts.plan, facts.settings
    if plan.edges == "none":
        return "edges", None, []
    fill = settings.wrap_fill if plan.edges == "wrap" else "image"
    if fill == "colour":
        fill = settings.wrap_colour
    value = {
        "kind": plan.edges,
        "mm": round(px_to_mm(plan.edge_px, plan.ppi), 3),
        "px": plan.edge_px,
        "fill": fill,
        "width": plan.out.width,
        "height": plan.out.height,
    }
    name = "Bleed:     " if plan.edges == "bleed" else "Wrap:      "
    line = (
        f"{name} {px_to_mm(plan.edge_px, plan.ppi):.1f} mm on each side ({fill}): "
        f"{_cm(plan.out, plan.ppi)}, {plan.out.width} x {plan.out.height} px in all"
    )
    return "edges", value, [line]


def _panels(facts: Facts) -> Section:
    plan, panels, sheets = facts.plan, facts.plan.panels, facts.plan.sheets
    names: list[str | None] = [None] * len(sheets)
    if facts.output is not None:
        files = [str(name) for name in output_files(facts.output, sheets)]
        names = [*files] if len(files) == len(sheets) else [files[0]] * len(sheets)
    value = {
        "rows": panels.rows,
        "columns": panels.columns,
        "overlap_mm": round(px_to_mm(panels.overlap_px, plan.ppi), 3),
        "overlap": panels.overlap_px,
        "margin": panels.margin_px,
        "sheets": [
            _sheet_map(sheet, name, plan.ppi) for sheet, name in zip(sheets, names, strict=True)
        ],
    }
    lines = []
    if len(sheets) > 1:
        widest = max((sheet.size for sheet in sheets), key=lambda size: size.pixels)
        lines.append(
            f"Panels:     {len(sheets)} ({panels.rows} x {panels.columns}) of up to "
            f"{_cm(widest, plan.ppi)}, overlap "
            f"{px_to_mm(panels.overlap_px, plan.ppi):.1f} mm"
        )
    if panels.margin_px:
        lines.append(
            f"Crop marks: on {px_to_mm(panels.margin_px, plan.ppi):.1f} mm of white paper around"
        )
    return "panels", value, lines


def _sheet_map(sheet: Sheet, name: str | None, ppi: float) -> dict[str, Any]:
    rect, paper = sheet.rect, sheet.size
    return {
        "row": sheet.row,
        "column": sheet.column,
        "rect": [rect.x, rect.y, rect.width, rect.height],
        "width": paper.width,
        "height": paper.height,
        "width_mm": round(px_to_mm(paper.width, ppi), 3),
        "height_mm": round(px_to_mm(paper.height, ppi), 3),
        "file": name,
    }


def _viewing(facts: Facts) -> Section:
    plan = facts.plan
    value = {
        "distance_mm": round(plan.distance_mm, 1),
        "needed_ppi": round(plan.needed_ppi, 2),
        "needed_ppi_sharp": round(plan.needed_ppi_sharp, 2),
        "holds_to_mm": round(plan.holds_to_mm, 1),
        "holds_to_mm_sharp": round(plan.holds_to_mm_sharp, 1),
    }
    line = (
        f"Seen from:  {plan.distance_mm / 10:.0f} cm {plan.needed_ppi:.0f} ppi are enough "
        f"({plan.needed_ppi_sharp:.0f} for the sharpest eyes); {plan.ppi:g} ppi hold to "
        f"{plan.holds_to_mm / 10:.0f} cm ({plan.holds_to_mm_sharp / 10:.0f} cm)"
    )
    return "viewing", value, [line]


def _sharpening(facts: Facts) -> Section:
    plan, settings = facts.plan, facts.settings
    if settings.sharpen == "none":
        return "sharpening", None, ["Sharpening: none"]
    halo_px = plan.halo_mm * plan.ppi / 25.4
    value = {
        "medium": settings.sharpen,
        "strength": settings.strength,
        "halo_mm": round(plan.halo_mm, 3),
        "halo_px": round(halo_px, 2),
    }
    line = (
        f"Sharpening: {settings.sharpen}, {settings.strength}, halo {plan.halo_mm:.2f} mm "
        f"({halo_px:.1f} px)"
    )
    return "sharpening", value, [line]


def _files(facts: Facts) -> Section:
    plan, layout = facts.plan, facts.source.layout
    papers = [sheet.size for sheet in plan.sheets]
    value, fitting, lines = {}, [], []
    for form in FORMATS:
        reason = unfit(form, plan.out, layout, papers)
        nbytes = sum(file_bytes(form, paper, layout) for paper in papers)
        why = str(reason) if reason else None
        value[form.name] = {"holds": not why, "bytes": nbytes, "reason": why}
        if why:
            lines.append(f"            {why}")
            continue
        about = "about" if form is JPEG else "up to"
        fitting.append(f"{form.name} {about} {_bytes(nbytes)}")
        if form is TIFF and max(file_bytes(form, p, layout) for p in papers) > BIGTIFF_FROM_BYTES:
            value[form.name]["bigtiff"] = True
            lines.append("            over 4 GB a TIFF is a BigTIFF, which some programs refuse")
    return "files", value, [f"File:       {', '.join(fitting)}", *lines]


def _forecast(facts: Facts) -> Section:
    settings, layout = facts.settings, facts.source.layout
    seconds, known = forecast.seconds(settings, facts.placement)
    room = forecast.room(settings, layout, facts.source.size, facts.placement)
    value = {
        "seconds": round(seconds, 1),
        "measured_here": known,
        "disk_bytes": room.disk,
        "server_bytes": room.server,
    }
    time = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    kind = "" if known else " on this computer's processor (first estimate)"
    line = (
        f"Forecast:   about {time}{kind}; {_bytes(room.disk)} on the disk and "
        f"{_bytes(room.server)} of memory meanwhile"
    )
    return "forecast", value, [line]


def _notes(facts: Facts) -> Section:
    notes = list(facts.source.notes)
    picture, trim = facts.source.size, facts.plan.trim
    turned = (trim.width > trim.height) != (picture.width > picture.height)
    square = trim.width == trim.height or picture.width == picture.height
    if facts.settings.fit != "keep" and turned and not square:
        way = "landscape" if picture.width > picture.height else "portrait"
        notes.append(f"The picture is {way} and the paper is not; --orientation {way} turns it.")
    return "notes", notes, [f"note: {note}" for note in notes]


SECTIONS: tuple[Callable[[Facts], Section], ...] = (
    _picture, _print, _detail, _edges, _panels, _viewing, _sharpening, _files, _forecast, _notes,
)  # fmt: skip


def _cm(size: Size, ppi: float) -> str:
    width, height = (px_to_mm(px, ppi) / 10 for px in (size.width, size.height))
    return f"{width:.1f} x {height:.1f} cm"


def _bytes(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{max(1, round(count / 1e6))} MB"

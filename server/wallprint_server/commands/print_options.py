"""The options that say what print is made of a picture; `enhance` and `plan` have the same."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wallprint_protocol.errors import BadInput
from wallprint_protocol.print_plan import OVERLAP_MM, WRAP_FILLS, Settings
from wallprint_protocol.print_size import (
    ANCHORS,
    FITS,
    ORIENTATIONS,
    PRINTER_FAMILIES,
    PrintSizeError,
    parse_anchor,
    parse_length_mm,
    parse_print_size,
)
from wallprint_protocol.request import DEVICES, MEDIA, STRENGTHS, STYLES

from ..models import catalog
from ..print_job import PrintOptions

DEFAULT_PRINT = "100cm"
_PANELS = re.compile(r"^(\d{1,4})\s*[xX×]\s*(\d{1,4})$")
_COLOUR = re.compile(r"^#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{8})$")


def add_size_options(parser: argparse.ArgumentParser, print_size: str = DEFAULT_PRINT) -> None:
    """`--print` and `--ppi`."""
    parser.add_argument(
        "--print",
        dest="print_size",
        metavar="SIZE",
        type=_readable(parse_print_size),
        default=print_size,
        help="100x70cm, 100cm (long side), 24x36in, 3000x2000px, or a name such as A3 or one of "
        "your own (default %(default)s)",
    )
    parser.add_argument(
        "--ppi", metavar="N", type=_number, default=200.0, help="pixels per inch (default 200)"
    )


def add_paper_options(parser: argparse.ArgumentParser) -> None:
    """What is on the paper besides the picture, and how it is cut."""
    add = parser.add_argument
    length = _length
    add(
        "--orientation",
        choices=ORIENTATIONS,
        default="auto",
        help="of the paper; auto turns the sizes that have a name with the picture",
    )
    add("--fit", choices=FITS, default="keep", help="keep proportions, crop to fill, or pad")
    add(
        "--anchor",
        metavar="PLACE",
        type=_readable(parse_anchor),
        default="centre",
        help=f"what crop keeps and where pad puts the picture: {', '.join(ANCHORS)}, or per cent "
        "across,down such as 30,50 (default centre)",
    )
    edges = parser.add_mutually_exclusive_group()
    edges.add_argument(
        "--bleed",
        metavar="LENGTH",
        type=length("bleed"),
        help="picture beyond the print on each side, to be cut off: 3mm",
    )
    edges.add_argument(
        "--wrap",
        metavar="LENGTH",
        type=length("wrap"),
        help="canvas beyond the print on each side, to be folded round the bar: 4cm",
    )
    add(
        "--wrap-fill",
        metavar="HOW",
        type=_wrap_fill,
        help="mirror (default), image (what --fit crop has left there, else mirrored), stretch, "
        "average (the picture's mean colour), or a colour: #RRGGBB, for CMYK pictures #CCMMYYKK",
    )
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument(
        "--panels", metavar="RxC", type=_panels, help="cut the print into rows x columns: 1x3"
    )
    cut.add_argument(
        "--sheet-width",
        metavar="LENGTH",
        type=length("sheet width"),
        help="cut it into columns of at most this width, crop marks included: 61cm",
    )
    add(
        "--overlap",
        metavar="LENGTH",
        type=length("overlap"),
        help=f"what neighbouring panels share (default {OVERLAP_MM:g}mm)",
    )
    add("--crop-marks", action="store_true", help="marks on white paper around each panel")
    add(
        "--distance",
        metavar="LENGTH",
        type=length("distance"),
        help="from which it is seen: 2m (default one and a half diagonals of the print)",
    )
    add(
        "--printer",
        choices=tuple(PRINTER_FAMILIES),
        default="none",
        help="use the printer's own ppi: 300 for Canon and HP, 360 for Epson",
    )


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """What decides how the picture is enlarged."""
    add = parser.add_argument
    add("--style", choices=STYLES, default="faithful", help="enhanced may invent detail")
    add("--model", metavar="NAME|PATH", default="", help="another enlarging network")
    add("--repair", metavar="auto|0..100", type=_amount, help="against JPEG traces and noise")
    add("--deblur", metavar="auto|0..100", type=_amount, help="against blur")
    add("--sharpen", choices=MEDIA, default="matte", help="output sharpening for this paper")
    add("--strength", choices=STRENGTHS, default="standard", help="of the output sharpening")
    add(
        "--halo",
        metavar="LENGTH",
        type=_length("halo"),
        default=0.0,
        help="width of the sharpening's halo on paper, fitted to the picture's own edges: 0.4mm "
        "(default what the distance hides, 0.25 to 0.5 mm)",
    )
    add(
        "--ink-spread",
        metavar="LENGTH",
        type=_length("ink spread"),
        default=0.0,
        help="Gaussian sigma of the ink on your paper, measured: 0.05mm; decides the amount",
    )
    add("--tile", metavar="auto|N", type=_tile, default=0, help="side of a tile, source px")
    add("--selection", metavar="MASK.png", type=Path, help="enhance only where it is white")
    add("--feather", metavar="MM", type=_number, help="soft edge of the selection on the print")


def add_where_options(parser: argparse.ArgumentParser) -> None:
    """`--device`, `--host` and `--server`."""
    add_device_option(parser)
    add_host_option(parser)
    parser.add_argument(
        "--server",
        metavar="auto|ADDRESS|embedded",
        default="auto",
        help="the running server or a new one, another, or one for this run only",
    )


def add_host_option(parser: argparse.ArgumentParser) -> None:
    """`--host`."""
    parser.add_argument(
        "--host",
        metavar="local|NAME|NAME,local",
        default="",
        help="which computer computes: this one, a paired one, or this one when that is away "
        "(default as `host` in the server's config.json, else local)",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """`--device`."""
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")


def print_options_of(options: argparse.Namespace) -> PrintOptions:
    """The options of a job, checked as far as that is possible without a picture.

    Raises:
        BadInput: unknown network, or options that contradict each other.
    """
    if options.feather is not None and options.selection is None:
        raise BadInput("--feather softens a selection; name one with --selection MASK.png.")
    if options.wrap_fill is not None and not options.wrap:
        raise BadInput("--wrap-fill says what goes round the bar; give its width with --wrap 4cm.")
    if options.sheet_width == 0:
        raise BadInput("A sheet width of 0 holds no picture; write --sheet-width 61cm.")
    rows, columns = options.panels or (1, 1)
    if options.overlap is not None and rows * columns == 1 and options.sheet_width is None:
        raise BadInput(
            "--overlap is what panels share; cut the print with --panels 1x3 or --sheet-width 61cm."
        )
    if (options.halo or options.ink_spread) and options.sharpen == "none":
        raise BadInput(
            "--halo and --ink-spread shape the output sharpening, and --sharpen none has none; "
            "name the paper, such as --sharpen matte."
        )
    edges = "bleed" if options.bleed else "wrap" if options.wrap else "none"
    fill = options.wrap_fill or "mirror"
    settings = Settings(
        preset=options.print_size,
        ppi=options.ppi,
        orientation=options.orientation,
        fit=options.fit,
        anchor=options.anchor,
        edges=edges,
        edge_mm=options.bleed or options.wrap or 0.0,
        wrap_fill="colour" if fill.startswith("#") else fill,
        wrap_colour=fill if fill.startswith("#") else Settings.wrap_colour,
        panel_rows=rows,
        panel_columns=columns,
        sheet_width_mm=options.sheet_width or 0.0,
        overlap_mm=OVERLAP_MM if options.overlap is None else options.overlap,
        crop_marks=options.crop_marks,
        distance_cm=(options.distance or 0.0) / 10,
        style=options.style,
        model=_model(options.model),
        repair=options.repair,
        deblur=options.deblur,
        source="selection" if options.selection else "layer",
        feather_mm=options.feather or 0.0,
        medium=options.sharpen,
        strength=options.strength,
        halo_mm=options.halo,
        spread_mm=options.ink_spread,
        device=options.device,
        tile_px=options.tile,
        printer=options.printer,
    )
    return PrintOptions(settings, options.selection)


def _model(name: str) -> str:
    """Name of a network; a file is added to the user's networks first."""
    if not name:
        return ""
    if Path(name).suffix or "/" in name:
        from ..models import user_import  # slow to import, and rarely needed

        return user_import.add(Path(name))
    return catalog.get(name).name


def _readable(parse: Callable[[str], Any]) -> Callable[[str], str]:
    """The text itself, when `parse` can read it."""

    def check(text: str) -> str:
        try:
            parse(text)
        except PrintSizeError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return check


def _length(name: str) -> Callable[[str], float]:
    """Millimetres."""

    def read(text: str) -> float:
        try:
            return parse_length_mm(text, name)
        except PrintSizeError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _panels(text: str) -> tuple[int, int]:
    """Rows, columns."""
    match = _PANELS.match(text.strip())
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not rows x columns such as 1x3 for three panels side by side"
        )
    return int(match[1]), int(match[2])


def _wrap_fill(text: str) -> str:
    names = [name for name in WRAP_FILLS if name != "colour"]
    if text in names or _COLOUR.match(text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is none of {', '.join(names)}, nor a colour such as #ffffff"
    )


def _number(text: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _amount(text: str) -> int | None:
    """`auto` or 0..100."""
    if text == "auto":
        return None
    if text.isdecimal() and int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a whole number 0..100")


def _tile(text: str) -> int:
    """`auto` (0) or 64..4096."""
    if text == "auto":
        return 0
    if text.isdecimal() and 64 <= int(text) <= 4096:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor 64..4096")

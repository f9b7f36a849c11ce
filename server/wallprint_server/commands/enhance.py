"""`wallprint enhance`: pictures to prints, one or a batch."""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wallprint_protocol.errors import BadInput, Cancelled, ServerTrouble, WallprintError
from wallprint_protocol.print_size import FITS, PrintSize, PrintSizeError, Size, parse_print_size
from wallprint_protocol.request import DEVICES, MEDIA, STRENGTHS, STYLES

from ..imaging.files_out import check_folder
from ..imaging.formats import format_of
from ..models import catalog
from ..print_job import Outcome, PrintOptions, default_name, make_print
from ..server_access import ServerAccess
from ..terminal import Interrupt, ProgressLine, say, sentence, tell

if TYPE_CHECKING:
    from . import Subparsers

DEFAULT_PRINT = "100cm"
_EPILOG = """\
The default print is 100 cm on the long side at 200 ppi, written beside the picture as
NAME_WxHcm_PPIppi.tif. TIFF holds everything; .png and .jpg are written too.

--json prints one line: input, output, width, height (px), ppi, scale, layout (model, dtype, alpha,
trc), seconds, device, networks (sha256 by name), notes, passport (file), exit_code, error
(null or code and message). Several pictures give {"prints": [...], "seconds", "exit_code"}.

Exit codes: 0 done, 2 bad arguments or picture, 3 server trouble, 4 out of memory or disk,
130 cancelled. A batch goes on after a bad picture and ends with the highest code.
"""


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "enhance",
        parents=list(parents),
        help="make a wall print of a photograph",
        description="Makes wall prints of photographs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pictures", metavar="PICTURE", nargs="+", type=Path)
    parser.add_argument(
        "-o", dest="output", metavar="PRINT", help="file, or folder for several pictures"
    )
    add_print_options(parser)
    add_job_options(parser)
    add_where_options(parser)
    parser.add_argument(
        "--passport", action="store_true", help="write the print's passport beside it as JSON"
    )
    parser.add_argument("--json", action="store_true", help="one summary line on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors")
    parser.set_defaults(run=run)


def add_print_options(parser: argparse.ArgumentParser, print_size: str = DEFAULT_PRINT) -> None:
    """`--print` and `--ppi`."""
    parser.add_argument(
        "--print",
        dest="print_size",
        metavar="SIZE",
        type=_print_size,
        default=print_size,
        help="100x70cm, 100cm (long side), 24x36in, 3000x2000px or A3 (default %(default)s)",
    )
    parser.add_argument(
        "--ppi", metavar="N", type=_number, default=200.0, help="pixels per inch (default 200)"
    )


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """What decides how the picture is enlarged."""
    add = parser.add_argument
    add("--fit", choices=FITS, default="keep", help="keep proportions, crop to fill, or pad")
    add("--style", choices=STYLES, default="faithful", help="enhanced may invent detail")
    add("--model", metavar="NAME|PATH", default="", help="another enlarging network")
    add("--repair", metavar="auto|0..100", type=_amount, help="against JPEG traces and noise")
    add("--deblur", metavar="auto|0..100", type=_amount, help="against blur")
    add("--sharpen", choices=MEDIA, default="matte", help="output sharpening for this paper")
    add("--strength", choices=STRENGTHS, default="standard", help="of the output sharpening")
    add("--tile", metavar="auto|N", type=_tile, default=0, help="side of a tile, source px")
    add("--selection", metavar="MASK.png", type=Path, help="enhance only where it is white")
    add("--feather", metavar="MM", type=_number, help="soft edge of the selection on the print")


def add_where_options(parser: argparse.ArgumentParser) -> None:
    """`--device` and `--server`."""
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    parser.add_argument(
        "--server",
        metavar="auto|ADDRESS|embedded",
        default="auto",
        help="the running server or a new one, another, or one for this run only",
    )


def run(options: argparse.Namespace) -> int:
    """Make the prints; the exit code."""
    began_s = time.monotonic()
    batch = len(options.pictures) > 1
    output = _output_rule(options)
    print_options = replace(print_options_of(options), passport=options.passport)
    with Interrupt() as interrupt:
        outcomes = _make_all(options, print_options, output, interrupt)
    exit_code = max(outcome.exit_code for outcome in outcomes)
    if options.json:
        maps = [outcome.to_map() for outcome in outcomes]
        seconds = round(time.monotonic() - began_s, 3)
        summary = {"prints": maps, "seconds": seconds, "exit_code": exit_code}
        tell(json.dumps(summary if batch else maps[0]))
    if batch:
        failed = [
            f"\n  not {outcome.input}: {sentence(outcome.error)}"
            for outcome in outcomes
            if outcome.error is not None
        ]
        say(
            f"{len(outcomes) - len(failed)} of {len(options.pictures)} prints made"
            + "".join(failed),
            quiet=options.quiet and not failed,
        )
    return exit_code


def print_options_of(options: argparse.Namespace) -> PrintOptions:
    """The options of a job, checked as far as that is possible without a picture.

    Raises:
        BadInput: unknown network, or options that contradict each other.
    """
    if options.feather is not None and options.selection is None:
        raise BadInput("--feather softens a selection; name one with --selection MASK.png.")
    return PrintOptions(
        size=options.print_size,
        ppi=options.ppi,
        fit=options.fit,
        style=options.style,
        model=_model(options.model),
        repair=options.repair,
        deblur=options.deblur,
        sharpen=options.sharpen,
        strength=options.strength,
        device=options.device,
        tile_px=options.tile,
        selection=options.selection,
        feather_mm=options.feather or 0.0,
    )


def _make_all(
    options: argparse.Namespace,
    print_options: PrintOptions,
    output: Callable[[Path, Size], Path],
    interrupt: Interrupt,
) -> list[Outcome]:
    """One outcome for each picture that was tried."""
    outcomes: list[Outcome] = []
    made: dict[Path, Path] = {}  # print -> picture
    with ServerAccess(
        options.server,
        on_status=lambda text: say(text, quiet=options.quiet),
        should_cancel=interrupt,
    ) as access:
        for picture in options.pictures:
            began_s = time.monotonic()
            try:
                with ProgressLine(picture.name, quiet=options.quiet) as line:
                    outcome = make_print(
                        picture,
                        print_options,
                        functools.partial(_next_output, output, made, picture),
                        access.connection,
                        protected=options.pictures,
                        on_progress=line.show,
                        should_cancel=interrupt,
                    )
                made[Path(outcome.output)] = picture
            except WallprintError as error:
                if options.debug:
                    traceback.print_exc()
                outcome = Outcome(str(picture), seconds=time.monotonic() - began_s, error=error)
            outcomes.append(outcome)
            _report(outcome, options)
            if isinstance(outcome.error, Cancelled):
                break
            if isinstance(outcome.error, ServerTrouble):
                access.forget()  # perhaps only this connection; the next picture tries again
    return outcomes


def _next_output(
    rule: Callable[[Path, Size], Path], made: dict[Path, Path], picture: Path, size: Size
) -> Path:
    """Path of a print, if no print of this batch is there."""
    path = rule(picture, size)
    if path in made:
        raise BadInput(
            f"{path} is the print of {made[path]} already; give {picture} another name or folder."
        )
    return path


def _report(outcome: Outcome, options: argparse.Namespace) -> None:
    if outcome.error is not None:
        say(f"wallprint: {sentence(outcome.error)}")
        return
    for note in outcome.notes:
        say(f"note: {note}", quiet=options.quiet)
    if not options.quiet and not options.json:
        tell(outcome.sentence())


def _output_rule(options: argparse.Namespace) -> Callable[[Path, Size], Path]:
    """Where the print of a picture goes.

    Raises:
        BadInput: several pictures for one file, or a folder that is not there.
    """
    if options.output is None:

        def beside(picture: Path, size: Size) -> Path:
            path = picture.with_name(default_name(picture, size, options.ppi))
            if path.exists():
                raise BadInput(f"{path} exists already; name it with -o to replace it.")
            return path

        return beside
    output = Path(options.output)
    if output.is_dir():
        return lambda picture, size: output / default_name(picture, size, options.ppi)
    if len(options.pictures) > 1 or options.output.endswith("/"):
        raise BadInput(f"The output folder {output} does not exist; create it first.")
    format_of(output)  # before anything else is looked at
    check_folder(output)
    return lambda picture, size: output


def _model(name: str) -> str:
    """Name of a network; a file is added to the user's networks first."""
    if not name:
        return ""
    if Path(name).suffix or "/" in name:
        from ..models import user_import  # slow to import, and rarely needed

        return user_import.add(Path(name))
    return catalog.get(name).name


def _print_size(text: str) -> PrintSize:
    try:
        return parse_print_size(text)
    except PrintSizeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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

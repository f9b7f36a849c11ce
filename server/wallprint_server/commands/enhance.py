"""`wallprint enhance`: pictures to prints, one or a batch."""

from __future__ import annotations

import argparse
import functools
import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wallprint_protocol.errors import BadInput, Cancelled, ServerTrouble, WallprintError
from wallprint_protocol.file_formats import format_of
from wallprint_protocol.print_plan import Plan
from wallprint_protocol.print_size import PrintSizeError, parse_length_mm

from ..imaging.files_out import check_folder, output_files
from ..print_job import Outcome, PrintOptions, default_name, make_print
from ..server_access import ServerAccess
from ..terminal import Interrupt, ProgressLine, say, sentence, tell
from .print_options import (
    add_job_options,
    add_paper_options,
    add_size_options,
    add_where_options,
    print_options_of,
)

if TYPE_CHECKING:
    from . import Subparsers

_EPILOG = """\
The default print is 100 cm on the long side at 200 ppi, written beside the picture as
NAME_WxHcm_PPIppi.tif. TIFF holds everything; .png, .jpg and .pdf are written too. Panels go into
files of their own, NAME_r1c1.tif (row 1, column 1) and so on, or become the pages of a .pdf.
--seen-from 2m adds PRINT.from-200cm-20-20.png and -20-12.png: the print as a normal and as the
sharpest eye gets it from there. Each of their pixels is the finest thing that such an eye resolves.
`wallprint plan` takes the same options and says what the print will be.

--json prints one line: input, output, files, width, height (px), ppi, scale, layout (model, dtype,
alpha, trc), seconds, device, networks (sha256 by name), notes, passport, report and seen (files),
halo (as measured: width_px, width_mm, overshoot, edge_px, edges), exit_code, error (null or code
and message). Several pictures give {"prints": [...], "seconds",
"exit_code"}.

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
    add_size_options(parser)
    add_paper_options(parser)
    add_job_options(parser)
    add_where_options(parser)
    parser.add_argument(
        "--passport", action="store_true", help="write the print's passport beside it as JSON"
    )
    parser.add_argument(
        "--report", metavar="FOLDER", type=Path, help="write a page there that shows what was done"
    )
    parser.add_argument(
        "--seen-from",
        metavar="auto|LENGTH",
        type=_seen_from,
        help="write beside it what an eye sees of the print from there: 2m (auto: --distance)",
    )
    parser.add_argument("--json", action="store_true", help="one summary line on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the prints; the exit code."""
    began_s = time.monotonic()
    batch = len(options.pictures) > 1
    output = _output_rule(options)
    print_options = replace(
        print_options_of(options),
        passport=options.passport,
        report=_made_folder(options.report),
        seen_from_mm=options.seen_from,
    )
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


def _seen_from(text: str) -> float:
    """Millimetres; 0 for `auto`."""
    if text == "auto":
        return 0.0
    try:
        length_mm = parse_length_mm(text, "distance")
    except PrintSizeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not length_mm:
        raise argparse.ArgumentTypeError("nothing is seen from 0 mm; write 2m or auto")
    return length_mm


def _made_folder(folder: Path | None) -> Path | None:
    """The folder, made if need be.

    Raises:
        BadInput: it cannot be made.
    """
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"The folder {folder} cannot be made ({error.strerror}); name another for --report."
            ) from None
    return folder


def _make_all(
    options: argparse.Namespace,
    print_options: PrintOptions,
    output: Callable[[Path, Plan], Path],
    interrupt: Interrupt,
) -> list[Outcome]:
    """One outcome for each picture that was tried."""
    outcomes: list[Outcome] = []
    made: dict[Path, Path] = {}  # print -> picture
    with ServerAccess(
        options.server,
        host=options.host,
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
                made.update(dict.fromkeys(map(Path, outcome.files), picture))
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
    rule: Callable[[Path, Plan], Path], made: dict[Path, Path], picture: Path, plan: Plan
) -> Path:
    """Path of a print, if no print of this batch is there."""
    path = rule(picture, plan)
    for file in output_files(path, plan.sheets):
        if file not in made:
            continue
        raise BadInput(
            f"{file} is the print of {made[file]} already; give {picture} another name or folder."
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


def _output_rule(options: argparse.Namespace) -> Callable[[Path, Plan], Path]:
    """Where the print of a picture goes.

    Raises:
        BadInput: several pictures for one file, or a folder that is not there.
    """
    if options.output is None:

        def beside(picture: Path, plan: Plan) -> Path:
            path = picture.with_name(default_name(picture, plan.trim.size, plan.ppi))
            for file in output_files(path, plan.sheets):
                if file.exists():
                    raise BadInput(f"{file} exists already; name {path} with -o to replace it.")
            return path

        return beside
    output = Path(options.output)
    if output.is_dir():
        return lambda picture, plan: output / default_name(picture, plan.trim.size, plan.ppi)
    if len(options.pictures) > 1 or options.output.endswith("/"):
        raise BadInput(f"The output folder {output} does not exist; create it first.")
    format_of(output)  # before anything else is looked at
    check_folder(output)
    return lambda picture, plan: output

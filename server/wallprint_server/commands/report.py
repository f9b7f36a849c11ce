"""`wallprint report`: the page that shows how a print was made, for one that is there already."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallprint_protocol.errors import EXIT_DONE, BadInput
from wallprint_protocol.job_run import Progress
from wallprint_protocol.passport import Passport

from ..imaging.files_in import open_source
from ..imaging.files_out import check_folder, file_beside
from ..print_job import REPORT_SUFFIX, refuse_overwriting
from ..terminal import tell
from .print_options import add_host_option
from .reproduce import checked_source, compare, pixels_sha256, read_passports
from .single_job import add_progress_option, single_job

if TYPE_CHECKING:
    from . import Subparsers


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "report",
        parents=list(parents),
        help="make the page that shows how a print was made",
        description="Makes the page of `wallprint enhance --report` for a print that is there "
        "already. What only the run itself knew, such as times, is on it when the editor that made "
        "the print has kept that (print_record.py).",
    )
    parser.add_argument(
        "passport",
        metavar="PASSPORT",
        type=Path,
        help="the JSON file, the print itself, or an editor's record of it",
    )
    parser.add_argument("picture", metavar="PICTURE", type=Path, help="the print's source")
    parser.add_argument("printed", metavar="PRINT", type=Path, help="the print, in one piece")
    parser.add_argument(
        "-o",
        dest="output",
        metavar="PAGE.html",
        type=Path,
        help="file to write (default PRINT.html beside the print)",
    )
    parser.add_argument(
        "--server", metavar="auto|ADDRESS|embedded", default="auto", help="as of `enhance`"
    )
    add_host_option(parser)
    parser.add_argument("--json", action="store_true", help="one line: output, exit_code")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors")
    add_progress_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the page; the exit code."""
    from ..imaging.relaid import reader_in  # numpy and Pillow, which --help can do without
    from ..imaging.spooled import Spooled
    from ..report_page import look, page

    began_s = time.monotonic()
    passport, made = _passport_and_more(options.passport)
    request, name = passport.request, options.printed.name
    output = options.output or options.printed.with_name(name + REPORT_SUFFIX)
    check_folder(output)
    refuse_overwriting(output, [options.passport, options.picture, options.printed])
    with (
        single_job(options, name) as job,
        open_source(options.picture) as source,
        open_source(options.printed) as printed,
    ):
        if printed.size != request.out:
            raise BadInput(
                f"{options.printed} has {printed.size.width}x{printed.size.height} px, the print "
                f"of the passport {request.out.width}x{request.out.height}; name the whole print."
            )
        job.line.show(Progress("read", 0, 0))
        read_source = checked_source(passport, source)
        with Spooled(printed, should_cancel=job.cancelled) as spooled:
            read_print = reader_in(printed, request.layout, spooled.raster.read)
            found = pixels_sha256(request.out, read_print, request.layout)
            compare(options.printed, "print", found, passport.pixels_sha256)
            job.line.show(Progress("run", 0, 1))
            looked = look(
                request,
                read_source,
                read_print,
                dict(passport.report),
                job.connect(),
                icc=printed.metadata.icc,
                should_cancel=job.cancelled,
            )
    text = page(
        looked,
        passport,
        name=str(made.get("name") or name),
        seconds=float(made.get("seconds") or time.monotonic() - began_s),
        notes=[str(note) for note in made.get("notes", ())],
    )
    with file_beside(output, text.encode()):
        pass
    if options.json:
        tell(json.dumps({"output": str(output), "exit_code": EXIT_DONE}))
    elif not options.quiet:
        tell(str(output))
    return EXIT_DONE


def _passport_and_more(path: Path) -> tuple[Passport, Mapping[str, Any]]:
    """The passport, and what an editor's record has beside it: name, seconds, notes.

    Raises:
        BadInput: it cannot be read.
    """
    made: Any = None
    try:
        with path.open("rb") as file:
            if file.read(1) == b"{":
                made = json.loads(path.read_text("utf-8"))
        if not isinstance(made, dict) or not isinstance(made.get("passport"), dict):
            return read_passports(path)[0], {}
        return replace(Passport.from_map(made["passport"]), report=dict(made["report"])), made
    except (OSError, UnicodeDecodeError):
        return read_passports(path)[0], {}  # it says what is wrong
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(
            f"The record {path} cannot be used: {error}; make the print again in the editor."
        ) from None

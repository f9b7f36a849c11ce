"""`wallprint save`: a print that was made in an editor as files for the printer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wallprint_protocol.errors import EXIT_DONE, BadInput, Cancelled
from wallprint_protocol.job_run import Progress
from wallprint_protocol.print_record import PrintRecord
from wallprint_protocol.print_size import Rect

from ..imaging.files_in import Source, open_source
from ..imaging.files_out import PrintFile
from ..print_job import refuse_overwriting
from ..terminal import Interrupt, ProgressLine, say, tell
from .single_job import add_progress_option

if TYPE_CHECKING:
    from . import Subparsers

_ROWS = 64
_MAX_RECORD_BYTES = 1 << 20


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "save",
        parents=list(parents),
        help="write a print that was made in an editor to files, in panels and with marks",
        description="Writes what `wallprint enhance` writes, for a print that GIMP or Krita has "
        "made: its panels and crop marks, its resolution, its passport; the editors call it.",
    )
    parser.add_argument(
        "record", metavar="RECORD.json", type=Path, help="what the editor knows of the print"
    )
    parser.add_argument("printed", metavar="PRINT", type=Path, help="its pixels")
    parser.add_argument("--json", action="store_true", help="one summary line on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors")
    add_progress_option(parser)
    parser.add_argument(
        "-o", dest="output", metavar="PRINT", type=Path, required=True,
        help="file to write: .tif, .png, .jpg or .pdf",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the files; the exit code."""
    record = _read_record(options.record)
    plan = record.plan
    with (
        open_source(options.printed) as source,
        Interrupt() as cancelled,
        ProgressLine(
            options.output.name, quiet=options.quiet, as_json=options.progress_json
        ) as line,
    ):
        _check_size(record, source)
        if source.size != plan.out:
            raise BadInput(
                "The layer does not cover the print, which therefore cannot be saved from it "
                "alone; enhance the visible picture."
            )
        refuse_overwriting(options.output, [options.printed, options.record])
        with PrintFile(
            options.output,
            plan.out,
            # A file tells its curve by its profile alone; the editor knows.
            replace(source.layout, trc=record.passport.request.layout.trc),
            ppi_milli=round(plan.ppi * 1000),
            metadata=source.metadata,
            sheets=plan.sheets,
        ) as file:
            for y in range(0, plan.out.height, _ROWS):
                if cancelled():
                    raise Cancelled
                strip = Rect(0, y, plan.out.width, min(_ROWS, plan.out.height - y))
                file.write(strip, source.read(strip))
            file.add_passport(record.passport)
            file.commit(
                on_progress=lambda part: line.show(Progress("save", int(part * 100), 100)),
                should_cancel=cancelled,
            )
    files = [str(name) for name in file.files]
    for note in file.notes:
        say(f"note: {note}", quiet=options.quiet)
    if options.json:
        tell(json.dumps({"files": files, "notes": list(file.notes), "exit_code": EXIT_DONE}))
    elif not options.quiet:
        tell("\n".join(files))
    return EXIT_DONE


def _read_record(path: Path) -> PrintRecord:
    """The record.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_RECORD_BYTES + 1)
        if len(content) > _MAX_RECORD_BYTES:
            raise ValueError("it is larger than any record")
        return PrintRecord.from_map(json.loads(content))
    except OSError as error:
        raise BadInput(f"The record {path} cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise BadInput(
            f"The record {path} cannot be used: {error}; make the print again in the editor."
        ) from None


def _check_size(record: PrintRecord, source: Source) -> None:
    """Refuse pixels of another size than the print's.

    Raises:
        BadInput: they are not those of the print.
    """
    if source.size != record.passport.request.out:
        out = record.passport.request.out
        raise BadInput(
            f"{source.path} has {source.size.width}x{source.size.height} px, but the print has "
            f"{out.width}x{out.height} px; name the file with the print's pixels."
        )

"""`wallprint proof`: one sheet of crops at true size, before the whole print is made."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wallprint_protocol.errors import EXIT_DONE, BadInput
from wallprint_protocol.file_formats import format_of
from wallprint_protocol.print_plan import Settings

from ..imaging.files_out import check_folder
from ..terminal import say, tell
from .print_options import (
    add_job_options,
    add_paper_options,
    add_size_options,
    add_where_options,
    print_options_of,
)
from .single_job import add_progress_option, single_job

if TYPE_CHECKING:
    from . import Subparsers

PAPERS = ("a4", "letter")
_EPILOG = """\
The sheet shows the finest detail, the most telling spot, a smooth gradient and a strong edge of the
print, as they will be: pixel for pixel what `wallprint enhance` makes with the same options. Print
it at 100 %. It is written beside the picture as NAME_proof.pdf; .tif, .png and .jpg work, too.

--json prints one line: output, also, width, height (px), ppi, strengths, crops (kind, rect of the
print, at on the sheet), detail, device, seconds, notes, exit_code.
"""


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "proof",
        parents=list(parents),
        help="make a sheet of crops at true size, before the whole print",
        description="Makes one sheet of crops of a print at their true size.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("picture", metavar="PICTURE", type=Path)
    parser.add_argument("-o", dest="output", metavar="PROOF", type=Path, help="file to write")
    parser.add_argument(
        "--also",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="the same sheet in another format, too",
    )
    parser.add_argument("--paper", choices=PAPERS, default="a4", help="(default %(default)s)")
    parser.add_argument(
        "--strengths", action="store_true", help="every crop in all strengths of --sharpen"
    )
    add_size_options(parser)
    add_paper_options(parser)
    add_job_options(parser)
    add_where_options(parser)
    parser.add_argument("--json", action="store_true", help="one summary line on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors")
    parser.add_argument(
        "--settings",
        metavar="FILE.json",
        type=Path,
        help="the values of an editor's dialog, in place of all options of the print",
    )
    add_progress_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the proof; the exit code."""
    from ..proof_job import make_proof  # numpy and Pillow, which --help can do without

    print_options = print_options_of(options)
    if options.settings is not None:
        print_options = replace(print_options, settings=_settings(options.settings))
    output = _output(options)
    with single_job(options, options.picture.name) as job:
        proof = make_proof(
            options.picture,
            print_options,
            output,
            job.connect,
            paper=options.paper,
            all_strengths=options.strengths,
            also=[_checked(path) for path in options.also],
            on_progress=job.line.show,
            should_cancel=job.cancelled,
        )
    for note in proof.notes:
        say(f"note: {note}", quiet=options.quiet)
    if options.json:
        tell(json.dumps({**proof.to_map(), "exit_code": EXIT_DONE}))
    elif not options.quiet:
        tell(proof.sentence())
    return EXIT_DONE


def _settings(path: Path) -> Settings:
    """The dialog's values, as the editors' plug-ins write them.

    Raises:
        BadInput: they cannot be read.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
        known = {field.name for field in fields(Settings)}
        return Settings(**{name: value for name, value in values.items() if name in known})
    except OSError as error:
        raise BadInput(f"The settings {path} cannot be read ({error.strerror}).") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} holds no settings of a dialog ({error}).") from None


def _output(options: argparse.Namespace) -> Path:
    """Where the proof goes.

    Raises:
        BadInput: it cannot go there.
    """
    picture: Path = options.picture
    output: Path | None = options.output
    if output is None:
        beside = picture.with_name(f"{picture.stem}_proof.pdf")
        if beside.exists():
            raise BadInput(f"{beside} exists already; name it with -o to replace it.")
        return beside
    if output.is_dir():
        return output / f"{picture.stem}_proof.pdf"
    return _checked(output)


def _checked(output: Path) -> Path:
    format_of(output)
    check_folder(output)
    return output

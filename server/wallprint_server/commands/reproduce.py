"""`wallprint reproduce`: make a print again from its passport and compare every pixel by hash."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallprint_protocol import client
from wallprint_protocol.errors import EXIT_DONE, BadInput
from wallprint_protocol.passport import Passport
from wallprint_protocol.print_size import Rect

from ..imaging.files_in import Source, open_selection, open_source
from ..imaging.xmp import passport_of
from ..print_job import sha256_of
from ..terminal import tell
from .single_job import SingleJob, single_job

if TYPE_CHECKING:
    from . import Subparsers

EXIT_DIFFERS = 1
_MAX_JSON_BYTES = 1 << 20


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "reproduce",
        parents=list(parents),
        help="make a print again from its passport and compare it",
        description="Makes a print again as its passport says, writes nothing, and compares the "
        "pixels with the passport's hash.",
        epilog="Exit codes: 0 the same pixels, 1 other pixels (and what was different), 2 bad "
        "input, 3 server trouble, 4 out of memory or disk, 130 cancelled.",
    )
    parser.add_argument(
        "passport", metavar="PASSPORT", type=Path, help="the JSON file, or the print itself"
    )
    parser.add_argument("picture", metavar="PICTURE", type=Path, help="the print's source")
    parser.add_argument("--selection", metavar="MASK.png", type=Path, help="if there was one")
    parser.add_argument(
        "--server", metavar="auto|ADDRESS|embedded", default="auto", help="as of `enhance`"
    )
    parser.add_argument("--json", action="store_true", help="one summary line on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare; the exit code."""
    passport = read_passport(options.passport)
    _check_file(options.picture, passport.source_sha256, "picture", passport.source_is)
    if passport.request.selection is not None:
        if options.selection is None:
            raise BadInput("The print was made with a selection; name it with --selection.")
        _check_file(options.selection, passport.selection_sha256, "selection", "file")
    with (
        single_job(options, options.picture.name) as job,
        open_source(options.picture) as source,
    ):
        again = _again(passport, source, options.selection, job)
    same = again.pixels_sha256 == passport.pixels_sha256
    differences = passport.differences(again)
    if options.json:
        summary = {
            "same": same,
            "pixels_sha256": again.pixels_sha256,
            "expected_sha256": passport.pixels_sha256,
            "differences": differences,
            "exit_code": EXIT_DONE if same else EXIT_DIFFERS,
        }
        tell(json.dumps(summary))
    elif same:
        tell(f"The same pixels: {again.pixels_sha256}")
    else:
        tell(f"Other pixels: {again.pixels_sha256}, the passport has {passport.pixels_sha256}.")
        for text in differences or [
            "Software, device and steps are the same; a difference in the last bits can come from "
            "the processor or from tiles that were cut when memory ran short."
        ]:
            tell(text)
    return EXIT_DONE if same else EXIT_DIFFERS


def read_passport(path: Path) -> Passport:
    """The passport of a JSON file, or of a print that carries it.

    Raises:
        BadInput: there is none that can be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_JSON_BYTES + 1)
    except OSError as error:
        raise BadInput(f"The passport {path} cannot be read ({error.strerror}).") from None
    try:
        if content.lstrip()[:1] == b"{":
            if len(content) > _MAX_JSON_BYTES:
                raise ValueError("it is larger than any passport")
            return Passport.from_map(json.loads(content))
        with open_source(path) as printed:
            found = passport_of(printed.metadata.xmp)
    except BadInput:
        raise BadInput(
            f"{path} is neither a passport nor a picture; name the .passport.json that "
            "`wallprint enhance --passport` wrote, or the print."
        ) from None
    except ValueError as error:
        raise BadInput(
            f"The passport {path} cannot be used: {error}; make the print again with "
            "`wallprint enhance --passport`."
        ) from None
    if found is None:
        raise BadInput(
            f"{path} carries no passport (a program that saved it may have dropped it); name the "
            ".passport.json instead."
        )
    return found


def _check_file(path: Path, expected: str, what: str, hashed: str) -> None:
    if hashed != "file":
        raise BadInput(
            "The passport is of a layer in an editor, whose pixels no file has; make the print "
            "again there."
        )
    found = sha256_of(path)
    if found != expected:
        raise BadInput(
            f"{path} is not the {what} that the print was made from: its SHA-256 is {found}, the "
            f"passport has {expected}. Name the unchanged original."
        )


def _again(passport: Passport, source: Source, selection: Path | None, job: SingleJob) -> Passport:
    """The passport of a second run."""
    request = passport.request
    if (source.size, source.layout) != (request.source, request.layout):
        raise BadInput(
            f"{source.path} is read as {source.size.width}x{source.size.height} px, "
            f"{source.layout.to_map()}, but was read as {request.source.width}x"
            f"{request.source.height} px, {request.layout.to_map()}, when the print was made; "
            "use the wallprint and libvips that made it."
        )
    digest = hashlib.sha256()

    def take(rect: Rect, pixels: memoryview) -> None:
        digest.update(pixels)

    mask = None
    if request.selection is not None and selection is not None:
        mask = open_selection(selection, source.size)
    try:
        result = client.enhance(
            request,
            source.read,
            take,
            read_selection=mask.read if mask else None,
            on_progress=job.line.show,
            should_cancel=job.cancelled,
            connection=job.connect(),
        )
    finally:
        if mask is not None:
            mask.close()
    more: dict[str, Any] = {
        "source_sha256": passport.source_sha256,
        "source_is": passport.source_is,
        "selection_sha256": passport.selection_sha256,
        "icc": passport.icc,
    }
    return Passport(request, pixels_sha256=digest.hexdigest(), report=result.report, **more)

"""`wallprint reproduce`: make a print again from its passport and compare every pixel by hash."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallprint_protocol import client
from wallprint_protocol.errors import EXIT_DONE, BadInput
from wallprint_protocol.job_run import Read
from wallprint_protocol.passport import Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size
from wallprint_protocol.row_hash import RowHash

from ..imaging import xcf
from ..imaging.files_in import Source, open_selection, open_source
from ..imaging.xmp import passport_of
from ..print_job import sha256_of
from ..terminal import tell
from .print_options import add_host_option
from .single_job import SingleJob, single_job

if TYPE_CHECKING:
    from . import Subparsers

EXIT_DIFFERS = 1
_MAX_JSON_BYTES = 1 << 20
_KRITA_ANNOTATION = "/annotations/wallprint"  # in a .kra file, which is a ZIP
_STRIP_ROWS = 64


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
        "passport",
        metavar="PASSPORT",
        type=Path,
        help="the JSON file, the print itself, or the Krita document that it is in",
    )
    parser.add_argument(
        "picture",
        metavar="PICTURE",
        type=Path,
        help="the print's source; of a print made in an editor, a file with the layer's pixels",
    )
    parser.add_argument("--selection", metavar="MASK.png", type=Path, help="if there was one")
    parser.add_argument(
        "--server", metavar="auto|ADDRESS|embedded", default="auto", help="as of `enhance`"
    )
    add_host_option(parser)
    parser.add_argument("--json", action="store_true", help="one summary line on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, only errors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare; the exit code."""
    passports = read_passports(options.passport)
    with (
        single_job(options, options.picture.name) as job,
        open_source(options.picture) as source,
    ):
        passport, read = _matching(passports, source)
        again = _again(passport, source, read, options.selection, job)
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


def read_passports(path: Path) -> list[Passport]:
    """The passports of a JSON file, of a print, or of the layers of a Krita or GIMP document.

    Raises:
        BadInput: there is none that can be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_JSON_BYTES + 1)
    except OSError as error:
        raise BadInput(f"The passport {path} cannot be read ({error.strerror}).") from None
    try:
        if content.startswith(b"PK"):
            found = _of_krita(path)
        elif content.startswith(xcf.MAGIC):
            found = xcf.passports_of(path)
        elif content.lstrip()[:1] == b"{":
            if len(content) > _MAX_JSON_BYTES:
                raise ValueError("it is larger than any passport")
            found = [Passport.from_map(json.loads(content))]
        else:
            with open_source(path) as printed:
                inside = passport_of(printed.metadata.xmp)
            found = [inside] if inside else []
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
    if not found:
        raise BadInput(
            f"{path} carries no passport (a program that saved it may have dropped it); name the "
            ".passport.json instead."
        )
    return found


def _of_krita(path: Path) -> list[Passport]:
    """Those of a .kra file, the latest first."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(_KRITA_ANNOTATION)]
            if not names or archive.getinfo(names[0]).file_size > _MAX_JSON_BYTES:
                return []
            layers = json.loads(archive.read(names[0]))["layers"]
            return [Passport.from_map(value) for value in reversed(layers.values())]
    except (zipfile.BadZipFile, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no whole Krita document ({error})") from None


def _matching(passports: Sequence[Passport], source: Source) -> tuple[Passport, Read]:
    """The first passport that is of this picture, and how its pixels are read for it.

    Raises:
        BadInput: none is.
    """
    if len(passports) == 1:
        return passports[0], checked_source(passports[0], source)
    for passport in passports:
        with contextlib.suppress(BadInput):
            return passport, checked_source(passport, source)
    raise BadInput(
        f"None of the {len(passports)} prints was made from the pixels of {source.path}; name a "
        "file with the unchanged layer's pixels."
    )


def checked_source(passport: Passport, source: Source) -> Read:
    """How the pixels that the print was made from are read.

    Raises:
        BadInput: they are others.
    """
    request, path = passport.request, source.path
    if passport.source_is == "file":
        compare(path, "picture", sha256_of(path), passport.source_sha256)
        if (source.size, source.layout) != (request.source, request.layout):
            raise BadInput(
                f"{path} is read as {source.size.width}x{source.size.height} px, "
                f"{source.layout.to_map()}, but was read as {request.source.width}x"
                f"{request.source.height} px, {request.layout.to_map()}, when the print was made; "
                "use the wallprint and libvips that made it."
            )
        return source.read
    if source.size != request.source:
        raise BadInput(
            f"{path} has {source.size.width}x{source.size.height} px, but the layer that the print "
            f"was made from had {request.source.width}x{request.source.height} px; name a file "
            "with just that layer's pixels."
        )
    from ..imaging.relaid import reader_in  # numpy, which most passports can do without

    read = reader_in(source, request.layout)
    compare(
        path, "picture", pixels_sha256(source.size, read, request.layout), passport.source_sha256
    )
    return read


def pixels_sha256(size: Size, read: Read, layout: PixelLayout) -> str:
    """Of a whole picture, as passports have it."""
    rows = RowHash(size.width * layout.bytes_per_pixel)
    for y in range(0, size.height, _STRIP_ROWS):
        strip = Rect(0, y, size.width, min(_STRIP_ROWS, size.height - y))
        rows.take(strip, read(strip))
    return rows.hexdigest()


def compare(path: Path, what: str, found: str, expected: str) -> None:
    """Refuse a file whose hash is not the passport's.

    Raises:
        BadInput: it is not.
    """
    if found != expected:
        raise BadInput(
            f"{path} is not the {what} of the passport: its SHA-256 is {found}, the "
            f"passport has {expected}. Name the unchanged original."
        )


def _checked_mask(passport: Passport, source: Source, path: Path | None) -> Source | None:
    """The selection, None when the print was made without one.

    Raises:
        BadInput: it is not there, or another.
    """
    layout = passport.request.selection
    if layout is None:
        return None
    if path is None:
        raise BadInput("The print was made with a selection; name it with --selection.")
    mask = open_selection(path, source.size)
    try:
        if passport.source_is == "file":
            found = sha256_of(path)
        else:
            found = pixels_sha256(mask.size, mask.read, mask.layout)
        compare(path, "selection", found, passport.selection_sha256)
    except BadInput:
        mask.close()
        raise
    return mask


def _again(
    passport: Passport, source: Source, read: Read, selection: Path | None, job: SingleJob
) -> Passport:
    """The passport of a second run."""
    request = passport.request
    mask = _checked_mask(passport, source, selection)
    digest = hashlib.sha256()

    def take(rect: Rect, pixels: memoryview) -> None:
        digest.update(pixels)

    try:
        result = client.enhance(
            request,
            read,
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

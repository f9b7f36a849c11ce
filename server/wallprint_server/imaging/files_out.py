"""Picture files out: a print arrives as strips and becomes a TIFF, PNG, JPEG or PDF.

All or nothing; a print in panels becomes a file for each, or a PDF with a page for each. Strips go
into an unlinked raw file whose room (and the encoded files') is reserved up front, so that a full
disk shows before the work begins. Only when every pixel is there are they encoded, row by row, into
temporary files that then take the outputs' places. Memory does not grow with the picture. Knows
nothing of how the pixels came about.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wallprint_protocol.errors import BadInput, Cancelled, OutOfResources, WallprintError
from wallprint_protocol.file_formats import PDF, check_output, conversion_notes, format_of
from wallprint_protocol.panels import Panels, Sheet, cut_sheets
from wallprint_protocol.passport import Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size

from ..raster import Raster
from .encode import encode
from .metadata import Metadata
from .pdf import encode_pdf, page_count
from .vips import vips
from .xmp import XmpError, with_passport

# An encoded file can be larger than the raw pixels by this much: headers, tags, profile, and what
# deflate adds to pixels that it cannot compress (5 bytes in 16 KiB).
_ENCODED_EXTRA = 1.01
_HEADER_BYTES = 8 << 20
_MORE_HEADER_BYTES = 1 << 20  # of each further panel
_HASH_BYTES = 8 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PrintFile:
    """One print on its way to its files; a context manager that leaves nothing behind on failure.

    Attributes:
        files: those of the print, symbolic links resolved.
        notes: what the format could not keep.

    Args:
        path: of the output; an existing file is replaced, at the very end.
        size: of the print.
        layout: of the strips.
        ppi_milli: thousandths of a ppi.
        metadata: of the source.
        sheets: the papers that it is printed on; by default one, with the whole print.

    Raises:
        BadInput: the format cannot hold the print, or the folder cannot be written.
        OutOfResources: not enough room on the disk.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: Size,
        layout: PixelLayout,
        *,
        ppi_milli: int,
        metadata: Metadata,
        sheets: Sequence[Sheet] = (),
    ) -> None:
        whole = Rect(0, 0, size.width, size.height)
        self._sheets = tuple(sheets) or cut_sheets(size, whole, Panels(), ppi_milli)
        papers = [sheet.size for sheet in self._sheets]
        self._form = check_output(Path(path), size, layout, papers)
        self.files = tuple(
            Path(os.path.realpath(name)) for name in output_files(Path(path), self._sheets)
        )
        for file in self.files:
            check_folder(file)
        self._folder = self.files[0].parent
        self._layout, self._ppi_milli = layout, ppi_milli
        self._metadata = metadata.for_print(size, ppi_milli)
        self.notes = conversion_notes(self._form, layout)
        self._pixels_written = 0
        nbytes = size.pixels * layout.bytes_per_pixel
        encoded = sum(paper.pixels for paper in papers) * layout.bytes_per_pixel
        fd, name = tempfile.mkstemp(prefix=".wallprint-", suffix=".raw", dir=self._folder)
        os.unlink(name)
        self._raster = Raster(fd, size, layout.bytes_per_pixel)
        try:
            headers = _HEADER_BYTES + (len(papers) - 1) * _MORE_HEADER_BYTES
            _reserve(fd, nbytes + int(encoded * _ENCODED_EXTRA) + headers, self._folder)
        except BaseException:
            self.close()
            raise

    def write(self, rect: Rect, data: bytes | bytearray | memoryview) -> None:
        """Take one rectangle of the result; each pixel once, in any order."""
        self._raster.write(rect, data)
        self._pixels_written += rect.size.pixels

    def read(self, rect: Rect) -> bytes:
        """Pixels of the print as they arrived, rows joined."""
        return bytes(self._raster.read(rect))

    def pixels_sha256(self) -> str:
        """Hash of all pixels as they arrived, rows from the top, before the format rounds them."""
        digest = hashlib.sha256()
        for start in range(0, self._raster.nbytes, _HASH_BYTES):
            length = min(_HASH_BYTES, self._raster.nbytes - start)
            digest.update(os.pread(self._raster.fd, length, start))
        return digest.hexdigest()

    def add_passport(self, passport: Passport) -> None:
        """Write it into the file's XMP, beside what the source's says."""
        try:
            packet = with_passport(self._metadata.xmp, passport)
        except XmpError as error:
            self.notes.append(
                f"The picture's XMP cannot be added to ({error}): the print has no passport "
                "inside; --passport writes one beside it."
            )
        else:
            self._metadata = replace(self._metadata, xmp=packet)

    def commit(
        self,
        *,
        on_progress: Callable[[float], None] | None = None,
        should_cancel: Callable[[], bool] | None = None,
    ) -> None:
        """Encode and put the files in their places: all of them, or none.

        Args:
            on_progress: gets the fraction that is encoded, 0..1.
            should_cancel: looked at before, about a hundred times in, and after each file.

        Raises:
            Cancelled, OutOfResources: existing outputs are untouched.
            WallprintError: what was written does not read back as it should.
        """
        size = self._raster.size
        if self._pixels_written != size.pixels:
            raise WallprintError(
                f"{self._pixels_written} of {size.pixels} pixels arrived; nothing was written."
            )
        # Free the room that was held for the encoded file.
        os.ftruncate(self._raster.fd, self._raster.nbytes)
        one_file = len(self.files) == 1
        parts = [self._sheets] if one_file else [(sheet,) for sheet in self._sheets]
        made: list[tuple[Path, Path]] = []  # temporary file, its place
        try:
            for number, (path, sheets) in enumerate(zip(self.files, parts, strict=True)):

                def tell(fraction: float, before: int = number) -> None:
                    if should_cancel is not None and should_cancel():
                        raise Cancelled("Cancelled; the output was not written.")
                    if on_progress is not None:
                        on_progress((before + fraction) / len(parts))

                fd, name = tempfile.mkstemp(
                    prefix=".wallprint-", suffix=path.suffix.lower(), dir=self._folder
                )
                made.append((Path(name), path))
                try:
                    tell(0.0)  # libvips looks at its clock and may pass by a small file in silence
                    self._encode(Path(name), path, sheets, tell)
                    self._check(Path(name), path, sheets)
                    tell(1.0)
                    os.fchmod(fd, _mode_for(path))
                    os.fsync(fd)
                finally:
                    os.close(fd)
            _replace_all(made)
            _sync_folder(self._folder)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise _no_room(self._folder, self._raster.nbytes) from error
            where = made[-1][1] if made else self._folder
            raise BadInput(f"{where} cannot be written ({error.strerror}).") from error
        finally:
            for temporary, _ in made:
                temporary.unlink(missing_ok=True)  # gone already when all went well
            self.close()

    def _encode(
        self, temporary: Path, path: Path, sheets: Sequence[Sheet], tell: Callable[[float], None]
    ) -> None:
        """Write one file; `tell` raises Cancelled when it is to end."""
        if self._form is PDF:
            notes = encode_pdf(
                self._raster,
                self._layout,
                sheets,
                temporary,
                ppi_milli=self._ppi_milli,
                metadata=self._metadata,
                on_progress=tell,
            )
            self._add_notes(notes)
            return
        cancelled: list[Cancelled] = []

        def watch(image: Any, progress: Any) -> None:
            """Called by libvips, through which no exception can pass."""
            try:
                tell(progress.percent / 100)
            except Cancelled as error:
                cancelled.append(error)
                image.set_kill(True)

        sheet = sheets[0]
        try:
            notes = encode(
                self._raster,
                self._layout,
                self._form,
                temporary,
                sheet=sheet,
                ppi_milli=self._ppi_milli,
                metadata=self._metadata.for_print(sheet.size, self._ppi_milli),
                watch=watch,
            )
        except vips().Error as error:
            if cancelled:
                raise cancelled[0] from None
            # libvips does not keep the reason: ask the disk.
            with temporary.open("ab") as file:
                here = os.fstat(file.fileno()).st_size
                _reserve(file.fileno(), here + (1 << 20), self._folder)
            raise WallprintError(f"{path.name} could not be encoded: {error}") from error
        self._add_notes(notes)

    def _add_notes(self, notes: list[str]) -> None:
        """What every panel says is said once."""
        self.notes += [note for note in notes if note not in self.notes]

    def _check(self, temporary: Path, path: Path, sheets: Sequence[Sheet]) -> None:
        """Reopen what was written and compare the size (a promise to the user, print.md 4.1)."""
        if self._form is PDF:
            found, wanted = f"{page_count(temporary)} pages", f"{len(sheets)} pages"
        else:
            written = vips().Image.new_from_file(str(temporary), access="sequential")
            size = sheets[0].size
            found = f"{written.width}x{written.height} px"
            wanted = f"{size.width}x{size.height} px"
        if found != wanted:
            raise WallprintError(
                f"{path.name} came out as {found} instead of {wanted}; nothing was written."
            )

    def close(self) -> None:
        """Let go of the raw pixels; without a `commit` before, nothing is left."""
        if self._raster.fd >= 0:
            os.close(self._raster.fd)
            self._raster = Raster(-1, self._raster.size, self._raster.bytes_per_pixel)

    def __enter__(self) -> PrintFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def file_beside(path: Path, data: bytes) -> Iterator[None]:
    """Write a small file beside a print: it appears when the block ends well, else not at all.

    Raises:
        BadInput: it cannot be written; the block is not entered.
    """
    check_folder(path)
    fd, name = tempfile.mkstemp(prefix=".wallprint-", suffix=path.suffix, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), _mode_for(path))
        yield
        temporary.replace(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)


def output_files(path: Path, sheets: Sequence[Sheet]) -> list[Path]:
    """The files of a print: itself, or NAME_r1c1 and so on for each panel.

    Raises:
        BadInput: the ending is none of ours.
    """
    if len(sheets) <= 1 or format_of(path).pages:
        return [path]
    return [
        path.with_name(f"{path.stem}_r{sheet.row}c{sheet.column}{path.suffix}") for sheet in sheets
    ]


def _replace_all(made: Sequence[tuple[Path, Path]]) -> None:
    """Put temporary files in their places: all of them, or after an error everything is as before.

    Raises:
        OSError: a place cannot be taken.
    """
    if len(made) == 1:  # atomic by itself
        made[0][0].replace(made[0][1])
        return
    done: list[tuple[Path, Path | None]] = []  # place, where the file that was there is kept
    try:
        for temporary, path in made:
            kept = temporary.with_name(f"{temporary.name}.old") if path.exists() else None
            done.append((path, kept))
            if kept is not None:
                path.replace(kept)
            temporary.replace(path)
    except BaseException:
        for path, kept in reversed(done):
            if kept is None:
                path.unlink(missing_ok=True)
            elif kept.exists():
                kept.replace(path)
        raise
    for _, kept in done:
        if kept is not None:
            kept.unlink()


def check_folder(path: Path) -> None:
    """Refuse an output whose folder cannot take it.

    Raises:
        BadInput: the folder is missing or cannot be written, or the path is no ordinary file.
    """
    folder = path.parent
    if path.is_dir():
        raise BadInput(f"The output {path} is a folder; name a file in it.")
    if path.exists() and not path.is_file():
        raise BadInput(f"The output {path} is not an ordinary file; name another.")
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist; create it first"
        raise BadInput(f"The output folder {folder} {what}.")
    if path.exists() and not os.access(path, os.W_OK):
        raise BadInput(f"The output {path} exists and is write-protected; name another.")
    try:
        fd, name = tempfile.mkstemp(prefix=".wallprint-", dir=folder)
    except OSError as error:
        raise BadInput(
            f"The output folder {folder} cannot be written ({error.strerror}); "
            "choose another or change its permissions."
        ) from None
    os.close(fd)
    os.unlink(name)


def _reserve(fd: int, nbytes: int, folder: Path) -> None:
    """Make sure that `nbytes` fit.

    Raises:
        OutOfResources: they do not.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, nbytes)
        elif shutil.disk_usage(folder).free < nbytes:  # macOS: no reservation, but a check
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise BadInput(f"The output folder {folder} fails ({error.strerror}).") from error
        raise _no_room(folder, nbytes) from error


def _no_room(folder: Path, nbytes: int) -> OutOfResources:
    free = shutil.disk_usage(folder).free
    return OutOfResources(
        f"There is not enough room in {folder}: the print needs up to {nbytes / 1e9:.1f} GB while "
        f"it is written, {free / 1e9:.1f} GB are free. Free some or name another folder.",
        code="E_DISK_FULL",
        detail={"needed": nbytes, "free": free},
    )


def _mode_for(path: Path) -> int:
    """Permissions of the file that is replaced, or those that a new file gets."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

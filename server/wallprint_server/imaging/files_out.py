"""Picture files out: a print arrives as strips and becomes a TIFF, PNG or JPEG, all or nothing.

Strips go into an unlinked raw file whose room (and the encoded file's) is reserved up front, so
that a full disk shows before the work begins. Only when every pixel is there does libvips encode
it, row by row, into a temporary file that then takes the output's place. Memory does not grow with
the picture. Knows nothing of how the pixels came about.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from wallprint_protocol.errors import BadInput, Cancelled, OutOfResources, WallprintError
from wallprint_protocol.passport import Passport
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size

from ..raster import Raster
from .encode import encode
from .formats import check_output, conversion_notes
from .metadata import Metadata
from .vips import vips
from .xmp import XmpError, with_passport

# An encoded file can be larger than the raw pixels by this much: headers, tags, profile, and what
# deflate adds to pixels that it cannot compress (5 bytes in 16 KiB).
_ENCODED_EXTRA = 1.01
_HEADER_BYTES = 8 << 20
_HASH_BYTES = 8 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PrintFile:
    """One print on its way to a file; a context manager that leaves nothing behind on failure.

    Attributes:
        path: of the output, symbolic links resolved.
        notes: what the format could not keep.

    Args:
        path: of the output; an existing file is replaced, at the very end.
        size: of the print.
        layout: of the strips.
        ppi_milli: thousandths of a ppi.
        metadata: of the source.

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
    ) -> None:
        self.path = Path(os.path.realpath(path))
        self._form = check_output(self.path, size, layout)
        check_folder(self.path)
        self._layout, self._ppi_milli = layout, ppi_milli
        self._metadata = metadata.for_print(size, ppi_milli)
        self.notes = conversion_notes(self._form, layout)
        self._pixels_written = 0
        nbytes = size.pixels * layout.bytes_per_pixel
        fd, name = tempfile.mkstemp(prefix=".wallprint-", suffix=".raw", dir=self.path.parent)
        os.unlink(name)
        self._raster = Raster(fd, size, layout.bytes_per_pixel)
        try:
            _reserve(fd, nbytes + int(nbytes * _ENCODED_EXTRA) + _HEADER_BYTES, self.path.parent)
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
        """Encode and put the file in its place.

        Args:
            on_progress: gets the fraction that is encoded, 0..1.
            should_cancel: looked at about a hundred times.

        Raises:
            Cancelled, OutOfResources: an existing output is untouched.
            WallprintError: what was written does not read back as it should.
        """
        size = self._raster.size
        if self._pixels_written != size.pixels:
            raise WallprintError(
                f"{self._pixels_written} of {size.pixels} pixels arrived; nothing was written."
            )
        # Free the room that was held for the encoded file.
        os.ftruncate(self._raster.fd, self._raster.nbytes)
        fd, name = tempfile.mkstemp(
            prefix=".wallprint-", suffix=self.path.suffix.lower(), dir=self.path.parent
        )
        temporary = Path(name)
        try:
            try:
                self._encode(temporary, on_progress, should_cancel)
                self._check(temporary)
                os.fchmod(fd, _mode_for(self.path))
                os.fsync(fd)
                temporary.replace(self.path)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    raise _no_room(self.path.parent, self._raster.nbytes) from error
                raise BadInput(f"{self.path} cannot be written ({error.strerror}).") from error
            _sync_folder(self.path.parent)
        finally:
            os.close(fd)
            temporary.unlink(missing_ok=True)  # gone already when all went well
            self.close()

    def _encode(
        self,
        temporary: Path,
        on_progress: Callable[[float], None] | None,
        should_cancel: Callable[[], bool] | None,
    ) -> None:
        cancelled = False

        def watch(image: Any, progress: Any) -> None:
            nonlocal cancelled
            if on_progress is not None:
                on_progress(progress.percent / 100)
            if should_cancel is not None and should_cancel():
                cancelled = True
                image.set_kill(True)

        try:
            self.notes += encode(
                self._raster,
                self._layout,
                self._form,
                temporary,
                ppi_milli=self._ppi_milli,
                metadata=self._metadata,
                watch=watch,
            )
        except vips().Error as error:
            if cancelled:
                raise Cancelled("Cancelled; the output was not written.") from None
            # libvips does not keep the reason: ask the disk.
            with temporary.open("ab") as file:
                here = os.fstat(file.fileno()).st_size
                _reserve(file.fileno(), here + (1 << 20), self.path.parent)
            raise WallprintError(f"{self.path.name} could not be encoded: {error}") from error

    def _check(self, temporary: Path) -> None:
        """Reopen what was written and compare the size (a promise to the user, print.md 4.1)."""
        written = vips().Image.new_from_file(str(temporary), access="sequential")
        found = Size(written.width, written.height)
        if found != self._raster.size:
            raise WallprintError(
                f"{self.path.name} came out as {found.width}x{found.height} px instead of "
                f"{self._raster.size.width}x{self._raster.size.height}; nothing was written."
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
def text_file(path: Path, text: str) -> Iterator[None]:
    """Write a text file beside a print: it appears when the block ends well, else not at all.

    Raises:
        BadInput: it cannot be written; the block is not entered.
    """
    check_folder(path)
    fd, name = tempfile.mkstemp(prefix=".wallprint-", suffix=path.suffix, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), _mode_for(path))
        yield
        temporary.replace(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}).") from error
    finally:
        temporary.unlink(missing_ok=True)


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

"""What kind of picture a file is, by its first bytes; its name may lie. Decodes nothing."""

from __future__ import annotations

from pathlib import Path

from wallprint_protocol.errors import BadInput

READABLE = "JPEG, PNG, TIFF or WebP"

# Files that people take for pictures we read: first bytes, their place, what they are.
_FOREIGN = (
    (b"%PDF", 0, "a PDF document"),
    (b"8BPS", 0, "a Photoshop document"),
    (b"gimp xcf", 0, "a GIMP document"),
    (b"GIF8", 0, "a GIF picture"),
    (b"BM", 0, "a BMP picture"),
    (b"ftyp", 4, "a HEIF or AVIF picture, or a film"),
    (b"FUJIFILMCCD-RAW", 0, "a camera raw file"),
    (b"II\x55\x00", 0, "a camera raw file"),
    (b"PK\x03\x04", 0, "a Krita document or another packed file"),
)


def kind_of(path: Path) -> str:
    """One of "jpeg", "png", "webp" and "tiff".

    Raises:
        BadInput: missing, unreadable, empty or something else; says what and names the cure.
    """
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder; name a picture file.")
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist; check the name.") from None
    except PermissionError:
        raise BadInput(f"{path} may not be read; check its permissions.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); copy it again.") from None
    if not head:
        raise BadInput(f"{path.name} is empty (0 bytes); copy it again from where it came from.")
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    what = next((name for sign, at, name in _FOREIGN if head[at:].startswith(sign)), "")
    raise BadInput(
        f"{path.name} is {what or 'not a picture, whatever its name says'}; "
        f"export the picture as {READABLE} and use that."
    )

"""Picture files in: JPEG, PNG, TIFF and WebP as upright rows of raw pixels with their metadata.

libvips decodes; this module decides what the bytes mean (PixelLayout) and says in one sentence why
a file cannot be used. Sizes are checked before a pixel is decoded. Knows nothing of printing.

Conventions where files are silent: a profile decides whether samples are linear light; without one,
floating point is scene-linear and everything else is perceptual (sRGB-like).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from wallprint_protocol.errors import BadInput
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import MAX_SIDE_PX, Rect, Size

from . import icc as icc_profile
from .metadata import (
    ORIENTATION,
    Metadata,
    exif_from_block,
    exif_from_tiff,
    iptc_from_resources,
    png_profile,
)
from .sniff import kind_of
from .tiff_source import TiffFacts, premultiplied_source, read_tiff_facts
from .tiff_tags import Directory, Entry, TagError
from .vips import vips

MAX_INPUT_PX = 256_000_000

_DTYPES = {"uchar": "u8", "ushort": "u16", "float": "f32"}
_UPRIGHT_BY_ROWS = (1, 2)  # orientations that need no other rows than the one in hand


@dataclass(frozen=True)
class _Decoded:
    """A lazy upright vips image; the vips source and its file, if any, must live as long."""

    image: Any
    source: Any = None
    file: BinaryIO | None = None

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


@dataclass
class Source:
    """An open picture.

    Attributes:
        path: of the file.
        size: upright.
        layout: of the bytes that `read` returns.
        metadata: as found in the file.
        notes: sentences for the user.
    """

    path: Path
    size: Size
    layout: PixelLayout
    metadata: Metadata
    notes: tuple[str, ...]
    _decode: Callable[[], _Decoded]
    _decoded: _Decoded | None = field(default=None, repr=False)
    _region: Any = field(default=None, repr=False)
    _next_y: int = 0

    def read(self, rect: Rect) -> bytes:
        """Bytes of a rectangle, rows joined.

        Cheapest from top to bottom; a step back decodes the file from its beginning again.

        Raises:
            BadInput: the file is damaged.
        """
        try:
            if self._region is None or rect.y < self._next_y:
                self.close()
                self._decoded = self._decode()
                self._region = vips().Region.new(self._decoded.image)
            self._next_y = rect.y
            return bytes(self._region.fetch(rect.x, rect.y, rect.width, rect.height))
        except vips().Error as error:
            raise _damaged(self.path, error) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._decoded is not None:
            self._decoded.close()
        self._region = self._decoded = None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(path: str | os.PathLike[str]) -> Source:
    """Open a picture and find out what it is; decodes nothing yet.

    Raises:
        BadInput: missing, unreadable, no picture, damaged, too large, or of a kind that cannot be
            printed; one sentence with the cure.
    """
    path = Path(path)
    kind = kind_of(path)
    facts = read_tiff_facts(path) if kind == "tiff" else None
    try:
        image = _open_image(path, kind, None, access="sequential").image
    except vips().Error as error:
        raise _damaged(path, error) from error
    _check_size(path, image)
    metadata, notes = _metadata(path, kind, image, facts)
    layout, bands = _layout(path, image, facts, metadata.icc)
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1 and (facts is None or not facts.pages_are_reduced):
        notes.append(f"{path.name} has {pages} pages; the first one is used.")
    if image.bands > bands:
        notes.append(
            f"{path.name} has {image.bands - bands} extra channel(s) that are not transparency "
            "(saved selections?); they are left out."
        )
    turned = _orientation(image)
    access = "sequential" if turned in _UPRIGHT_BY_ROWS else "random"

    def decode() -> _Decoded:
        fresh = _open_image(path, kind, facts, access=access)
        picture = fresh.image
        if picture.bands > bands:
            picture = picture.extract_band(0, n=bands)
        return replace(fresh, image=picture.autorot())

    size = Size(image.width, image.height)
    if turned >= 5:
        size = Size(size.height, size.width)
    return Source(path, size, layout, metadata, tuple(notes), decode)


def open_selection(path: str | os.PathLike[str], size: Size) -> Source:
    """Open a selection mask: GRAY, white = selected; colours count by their luminance.

    Raises:
        BadInput: as `open_source`, or the mask is not `size` (both upright).
    """
    mask = open_source(path)
    if mask.size != size:
        raise BadInput(
            f"The selection {mask.path.name} is {mask.size.width}x{mask.size.height} px, but the "
            f"picture is {size.width}x{size.height} px; save the mask at the picture's size."
        )
    if mask.layout.model == "GRAY":
        return mask
    if mask.layout.model.startswith("CMYK"):
        raise BadInput(f"The selection {mask.path.name} is CMYK; save it as a grey PNG.")
    decode = mask._decode

    def decode_grey() -> _Decoded:
        opened = decode()
        image = opened.image
        if mask.layout.has_alpha:  # transparent = not selected
            image = image.flatten(background=[0])
        grey = image.colourspace("grey16" if image.format == "ushort" else "b-w")
        return replace(opened, image=grey.cast(image.format))

    layout = PixelLayout("GRAY", mask.layout.dtype)
    return Source(mask.path, size, layout, Metadata(), mask.notes, decode_grey)


def _open_image(path: Path, kind: str, facts: TiffFacts | None, *, access: str) -> _Decoded:
    """Header read, nothing decoded."""
    options = {"access": access, "fail_on": "error"}
    if kind == "jpeg":
        return _Decoded(vips().Image.jpegload(str(path), **options))
    if kind == "png":
        return _Decoded(vips().Image.pngload(str(path), **options))
    if kind == "webp":
        return _Decoded(vips().Image.webpload(str(path), **options))
    if facts is not None and facts.alpha == "premul":
        file = path.open("rb")
        source = premultiplied_source(file, facts)
        return _Decoded(vips().Image.tiffload_source(source, **options), source, file)
    return _Decoded(vips().Image.tiffload(str(path), **options))


def _check_size(path: Path, image: Any) -> None:
    """Limits of the protocol, checked on the header's numbers."""
    width, height = image.width, image.height
    if width * height > MAX_INPUT_PX or max(width, height) > MAX_SIDE_PX:
        raise BadInput(
            f"{path.name} says it is {width}x{height} px; wallprint enlarges pictures of up to "
            f"{MAX_INPUT_PX // 10**6} megapixels and {MAX_SIDE_PX} px a side. Scale it down first."
        )


def _layout(
    path: Path, image: Any, facts: TiffFacts | None, profile: bytes
) -> tuple[PixelLayout, int]:
    """What the decoded bytes mean, and how many of the decoded bands belong to the picture."""
    dtype = _DTYPES.get(image.format)
    if dtype is None:
        raise BadInput(
            f"{path.name} has samples of the kind {image.format!r}; save it with 8 or 16 bits "
            "or as 32-bit floating point."
        )
    if image.interpretation == "cmyk":
        model, colours = "CMYK", 4
    elif image.interpretation in ("b-w", "grey16") or image.bands < 3:
        model, colours = "GRAY", 1
    elif image.interpretation in ("srgb", "rgb", "rgb16", "scrgb"):
        model, colours = "RGB", 3
    else:
        raise BadInput(
            f"{path.name} is in the colour model {image.interpretation!r}; "
            "convert it to RGB, grey or CMYK in your editor."
        )
    alpha = "none"
    if image.bands > colours:
        alpha = facts.alpha if facts else "straight"
    linear = icc_profile.is_linear(profile) if profile else dtype == "f32" and model != "CMYK"
    layout = PixelLayout(
        model + ("A" if alpha != "none" else ""), dtype, alpha, "linear" if linear else "perceptual"
    )
    return layout, layout.channels


def _metadata(
    path: Path, kind: str, image: Any, facts: TiffFacts | None
) -> tuple[Metadata, list[str]]:
    """ICC, EXIF, XMP, IPTC; what is damaged is left out with a note."""

    def blob(name: str) -> bytes:
        return bytes(image.get(name)) if image.get_typeof(name) else b""

    notes: list[str] = []
    exif: Directory = {}
    iptc = b""
    if facts is not None:
        exif = exif_from_tiff(facts.directory)
        entry = facts.directory.get(33723)
        iptc = entry.data if isinstance(entry, Entry) else b""
    else:
        iptc = iptc_from_resources(blob("iptc-data"))
        if blob("exif-data"):
            try:
                exif = exif_from_block(blob("exif-data"))
            except (TagError, struct.error):
                notes.append(f"The EXIF data of {path.name} is damaged and is left out.")
    exif.pop(ORIENTATION, None)
    icc = blob("icc-profile-data")
    if kind == "png":
        with path.open("rb") as file:
            icc = png_profile(file)
    return Metadata(icc, exif, blob("xmp-data"), iptc), notes


def _orientation(image: Any) -> int:
    """EXIF orientation 1..8; 1 when absent or absurd."""
    value = image.get("orientation") if image.get_typeof("orientation") else 1
    return value if value in range(1, 9) else 1


def _damaged(path: Path, error: Any) -> BadInput:
    """The sentence for whatever a decoder complained about."""
    lines = [line.strip() for line in (error.detail or error.message or "").splitlines()]
    reason = next((line for line in lines if line), "no reason given")
    reason = reason.split(": ", 1)[-1].rstrip(".")
    return BadInput(
        f"{path.name} is damaged or cut short ({reason}); copy it again from where it came from.",
        detail={"decoder": error.detail},
    )

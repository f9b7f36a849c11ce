"""The pictures of a report page: crops of a print, the plain enlargement, and each stage between.

Chooses where to look from the finished print, by samples; the stages in between are small jobs of
their own on the same server. The print as seen from where it will hang is shown as well, beside the
plain enlargement seen so. Knows nothing of HTML.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

import numpy as np
from PIL import Image

from wallprint_protocol import client
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect, Size, ppi_needed, px_to_mm, viewing_distance_mm
from wallprint_protocol.request import Options, Request

from ..imaging.luma import Levels, Pixels, Read, shown_icc, shown_levels
from ..seen_from import EYES, eye_sigma_px, light_levels, seen, seen_size, visible_share

# A crop is about what a screen shows at 1:1.
CROP = Size(1040, 640)
STAGE = Size(460, 300)
OVERVIEW_PX = 560
# Of a small print what is computed for the page is smaller, too: at most these parts of it, so that
# the page takes less than a tenth of the print's time.
STAGE_SHARE, SIGHT_SHARE = 1 / 32, 1 / 16
# Where to look: samples of the print on a grid.
SAMPLE_PX, SAMPLES_A_SIDE = 48, 12
# Source pixels around a stage's crop that its networks may look at.
MARGIN_PX = 96
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Crop:
    """A part of the print, before and after.

    Attributes:
        name: what is to be seen there.
        rect: px of the print.
        before: plain Lanczos enlargement, as a data URI.
        after: the print's own pixels, as a data URI.
        size: of both pictures, px.
    """

    name: str
    rect: Rect
    before: str
    after: str
    size: Size


@dataclass(frozen=True)
class Sight:
    """What an eye can tell the print from the plain enlargement by.

    Attributes:
        eye: its acuity, a key of `seen_from.EYES`.
        distance_mm: from which the print is seen.
        share: part of `crop`, 0..1, in which it sees a difference.
        crop: both as the eye sees them.
    """

    eye: str
    distance_mm: float
    share: float
    crop: Crop


@dataclass(frozen=True)
class Look:
    """All pictures of a page.

    Attributes:
        size: of the print, px.
        overview: the whole print, small, as a data URI.
        crops: where to look closely.
        sights: the print from where it will hang, by acuity.
        stages: (stage, picture as a data URI) at one spot, in order; "input" is the first, and a
            stage's name is that of the report.
    """

    size: Size
    overview: str
    crops: tuple[Crop, ...]
    sights: tuple[Sight, ...]
    stages: tuple[tuple[str, str], ...]


def look(
    request: Request,
    read_source: Read,
    read_print: Read,
    report: dict[str, Any],
    connection: client.Connection,
    *,
    icc: bytes = b"",
    should_cancel: Callable[[], bool] = lambda: False,
) -> Look:
    """Take the pictures.

    Args:
        request: of the print.
        read_source: gives rectangles of the source.
        read_print: gives rectangles of the print as computed.
        report: of the print's job.
        connection: to the server that made it; gets some small jobs.
        icc: profile of the pixels, which the pictures carry too.
        should_cancel: looked at while those run.
    """
    shower = _Shower(request.layout, icc)
    crops = []
    for name, rect in sorted(_places(request, read_print), key=lambda place: place[1].y):
        after = shower.picture(read_print(rect), rect.size)
        before = _plain(request, read_source, shower, rect)
        crops.append(Crop(name, rect, shower.uri(before), shower.uri(after), rect.size))
    crops.sort(key=lambda crop: _ORDER.index(crop.name))
    spot = _inside(crops[0].rect, _shrunk(STAGE, STAGE_SHARE * request.rect.size.pixels))
    stages = _stages(request, read_source, read_print, report, connection, spot, should_cancel)
    return Look(
        request.out,
        shower.uri(_overview(request, read_print, shower)),
        tuple(crops),
        tuple(_sight(request, read_source, read_print, shower, crops[0].rect, eye) for eye in EYES),
        tuple(
            (name, shower.uri(shower.scaled(data, size, spot.size))) for name, data, size in stages
        ),
    )


_ORDER = ("finest detail", "strongest edge", "smoothest tones")


def _places(request: Request, read_print: Read) -> list[tuple[str, Rect]]:
    """Up to three parts of the picture (not of its margins) that tell most."""
    whole = request.rect
    side = min(SAMPLE_PX, whole.width, whole.height)
    found: list[tuple[float, float, float, Rect]] = []
    for row in range(SAMPLES_A_SIDE):
        for column in range(SAMPLES_A_SIDE):
            x = whole.x + (whole.width - side) * column // (SAMPLES_A_SIDE - 1)
            y = whole.y + (whole.height - side) * row // (SAMPLES_A_SIDE - 1)
            rect = Rect(x, y, side, side)
            levels = shown_levels(read_print(rect), rect.size, request.layout).mean(2)
            slope = np.abs(np.diff(levels, axis=1))[:-1] + np.abs(np.diff(levels, axis=0))[:, :-1]
            # Unsharp regions have few steep pixels, text and hair have many; a single edge has
            # the steepest. Clipped areas have no tones to judge.
            clipped = float(((levels < 2) | (levels > 253)).mean())
            found.append((float(slope.mean()), float(np.quantile(slope, 0.995)), clipped, rect))
    scores: tuple[Callable[[tuple[float, float, float, Rect]], float], ...] = (
        lambda f: f[0],
        lambda f: f[1] - 2 * f[0],
        lambda f: -f[0] - 100 * f[2],
    )
    places: list[tuple[str, Rect]] = []
    for name, score in zip(_ORDER, scores, strict=True):
        for *_, rect in sorted(found, key=score, reverse=True):
            crop = _around(rect, CROP, whole)
            if all(_shared(crop, other) < 0.5 for _, other in places):
                places.append((name, crop))
                break
    return places


def _around(spot: Rect, size: Size, whole: Rect) -> Rect:
    """A rectangle of about `size` around a spot, within the whole."""
    width, height = min(size.width, whole.width), min(size.height, whole.height)
    x = spot.x + spot.width // 2 - width // 2
    y = spot.y + spot.height // 2 - height // 2
    x = min(max(x, whole.x), whole.x + whole.width - width)
    y = min(max(y, whole.y), whole.y + whole.height - height)
    return Rect(x, y, width, height)


def _shrunk(size: Size, most_px: float) -> Size:
    """A size of at most so many pixels, of the same proportions."""
    share = min(1.0, (most_px / size.pixels) ** 0.5)
    return Size(max(1, int(size.width * share)), max(1, int(size.height * share)))


def _inside(rect: Rect, size: Size) -> Rect:
    return _around(rect, size, rect)


def _shared(a: Rect, b: Rect) -> float:
    """Part of `a` that lies in `b`."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(0, width) * max(0, height) / (a.width * a.height)


def _source_box(request: Request, rect: Rect) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in source px of a part of the print."""
    window, whole = request.window, request.rect
    x_step, y_step = window.width / whole.width, window.height / whole.height
    left = window.x + (rect.x - whole.x) * x_step
    top = window.y + (rect.y - whole.y) * y_step
    return left, top, left + rect.width * x_step, top + rect.height * y_step


def _source_rect(request: Request, rect: Rect, margin: int) -> Rect:
    """Whole source pixels that cover a part of the print, and some around."""
    left, top, right, bottom = _source_box(request, rect)
    x, y = max(0, floor(left) - margin), max(0, floor(top) - margin)
    x_end = min(request.source.width, ceil(right) + margin)
    y_end = min(request.source.height, ceil(bottom) + margin)
    return Rect(x, y, x_end - x, y_end - y)


def _plain(
    request: Request, read_source: Read, shower: _Shower, rect: Rect, size: Size | None = None
) -> Image.Image:
    """The part of the print as a plain Lanczos enlargement, or on a coarser grid of `size`."""
    size = size or rect.size
    part = _source_rect(request, rect, 8)
    left, top, right, bottom = _source_box(request, rect)
    box = (left - part.x, top - part.y, right - part.x, bottom - part.y)
    picture = shower.picture(read_source(part), part.size)
    box = (max(0.0, box[0]), max(0.0, box[1]), min(part.width, box[2]), min(part.height, box[3]))
    return picture.resize((size.width, size.height), Image.Resampling.LANCZOS, box=box)


def _sight(
    request: Request, read_source: Read, read_print: Read, shower: _Shower, spot: Rect, eye: str
) -> Sight:
    """The print around a spot as an eye sees it, as much as a screen shows, and the plain one."""
    options, whole, acuity = request.options, request.rect, EYES[eye]
    ppi, distance_mm = options.ppi, options.distance_mm
    distance_mm = distance_mm or viewing_distance_mm(
        px_to_mm(whole.width, ppi), px_to_mm(whole.height, ppi)
    )
    px = max(1.0, ppi / ppi_needed(distance_mm, acuity))  # of the print, in one that is seen
    wanted = Size(int(CROP.width * px), int(CROP.height * px))
    part = _around(spot, _shrunk(wanted, SIGHT_SHARE * whole.size.pixels), whole)
    out = seen_size(part.size, ppi, distance_mm, acuity)
    after = seen(part, shower.levels_of(read_print), ppi, distance_mm, acuity, out)
    # The plain one has no more detail than the photograph, so that a coarser grid will do.
    coarse = max(1.0, eye_sigma_px(ppi, distance_mm, acuity))
    size = Size(max(1, round(part.width / coarse)), max(1, round(part.height / coarse)))
    plain = np.asarray(_plain(request, read_source, shower, part, size), dtype=np.float32)
    plain = plain.reshape(size.height, size.width, -1)
    before = seen(
        Rect(0, 0, size.width, size.height),
        lambda r: plain[r.y : r.y + r.height, r.x : r.x + r.width],
        ppi * size.width / part.width,
        distance_mm,
        acuity,
        out,
    )
    plainly, printed = (shower.uri(shower.of_levels(light_levels(x))) for x in (before, after))
    name = f"from {distance_mm / 10:.0f} cm, eye {eye}"
    crop = Crop(name, part, plainly, printed, out)
    return Sight(eye, distance_mm, visible_share(before, after), crop)


def _overview(request: Request, read_print: Read, shower: _Shower) -> Image.Image:
    """The whole print, reduced by taking rows and columns; it only shows where the crops are."""
    out = request.out
    factor = max(1, max(out.width, out.height) // OVERVIEW_PX)
    rows = range(factor // 2, out.height, factor)
    levels = np.concatenate(
        [
            shower.levels_of(read_print)(Rect(0, y, out.width, 1))[:, factor // 2 :: factor]
            for y in rows
        ]
    )
    return shower.of_levels(levels)


def _stages(
    request: Request,
    read_source: Read,
    read_print: Read,
    report: dict[str, Any],
    connection: client.Connection,
    spot: Rect,
    should_cancel: Callable[[], bool],
) -> list[tuple[str, bytes, Size]]:
    """(stage, pixels, size) at one spot after each stage, the source first."""
    stages = report.get("stages", [])
    part = _source_rect(request, spot, MARGIN_PX)
    if any(stage.get("shake") for stage in stages):
        # How the camera moved was read from the whole photograph: a part might say otherwise.
        part = Rect(0, 0, request.source.width, request.source.height)
    pixels = bytes(read_source(part))
    width_bytes = part.width * request.layout.bytes_per_pixel
    left, top, right, bottom = _source_box(request, spot)
    window = (left - part.x, top - part.y, right - left, bottom - top)
    window = (
        max(0.0, window[0]),
        max(0.0, window[1]),
        min(window[2], part.width - max(0.0, window[0])),
        min(window[3], part.height - max(0.0, window[1])),
    )
    strengths = {stage["stage"]: int(stage.get("strength", 0)) for stage in stages}
    ladder = [stage["network"] for stage in stages if stage["stage"] == "enlarge"]
    small = Size(max(1, round(window[2])), max(1, round(window[3])))
    own = {"sharpen": "none", "mirror": (0, 0, 0, 0), "repair": 0, "deblur": 0, "feather_mm": 0.0}

    def job(out: Size, **changes: Any) -> bytes:
        options: Options = replace(
            request.options, window=window, rect=(0, 0, out.width, out.height), **{**own, **changes}
        )
        options.check(source=part.size, out=out)
        strips: list[bytes] = []
        client.enhance(
            Request(part.size, request.layout, out, options),
            lambda rect: memoryview(pixels)[
                rect.y * width_bytes : (rect.y + rect.height) * width_bytes
            ],
            lambda rect, data: strips.append(bytes(data)),
            should_cancel=should_cancel,
            connection=connection,
        )
        return b"".join(strips)

    made = [("input", job(small, model=""), small)]
    before: dict[str, int] = {}
    for name in ("repair", "deblur"):
        if strengths.get(name):
            before[name] = strengths[name]
            made.append((name, job(small, model="", **before), small))
    if ladder and "sharpen" not in strengths:  # then the print itself is what came of it
        made.append(("enlarge", bytes(read_print(spot)), spot.size))
    elif ladder:
        model = ladder[0] if len(ladder) == 1 else ""
        made.append(("enlarge", job(spot.size, model=model, **before), spot.size))
    if "sharpen" in strengths:
        made.append(("sharpen", bytes(read_print(spot)), spot.size))
    return made


class _Shower:
    """Pixels of a layout as pictures that a browser shows."""

    def __init__(self, layout: PixelLayout, icc: bytes) -> None:
        self._layout, self._icc = layout, shown_icc(icc, layout)

    def levels_of(self, read: Read) -> Callable[[Rect], Levels]:
        """Rectangle -> (H, W, 1 or 3) levels of 255."""
        return lambda rect: shown_levels(read(rect), rect.size, self._layout)

    def picture(self, data: Pixels, size: Size) -> Image.Image:
        """Raw pixels as RGB or grey."""
        return self.of_levels(shown_levels(data, size, self._layout))

    def of_levels(self, levels: Levels) -> Image.Image:
        """(H, W, 1 or 3) levels of 255."""
        bytes_ = (levels + 0.5).clip(0, 255).astype(np.uint8)
        return Image.fromarray(bytes_[..., 0] if bytes_.shape[2] == 1 else bytes_)

    def scaled(self, data: bytes, size: Size, out: Size) -> Image.Image:
        """Raw pixels, plainly enlarged where they are not of the size that is shown."""
        picture = self.picture(data, size)
        if size == out:
            return picture
        return picture.resize((out.width, out.height), Image.Resampling.LANCZOS)

    def uri(self, picture: Image.Image) -> str:
        """As a JPEG inside a data URI."""
        file = io.BytesIO()
        picture.save(
            file, "JPEG", quality=_JPEG_QUALITY, subsampling=0, icc_profile=self._icc or None
        )
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()

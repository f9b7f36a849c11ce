"""One page to look at: the same places of the same pictures by every method, pixel for pixel.

A single HTML file that needs no network and no script. Knows nothing of how the pictures were
made; all are (H, W, 3) uint8.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image
from quality_scores import psnr
from scipy.ndimage import uniform_filter

CROP_PX = 192
# The best of this many pictures by difference are shown.
LARGEST = 2
TRUTH = "truth"


@dataclass(frozen=True)
class Exhibit:
    """One picture by every method.

    Attributes:
        name: of the picture.
        versions: label -> picture, all of one size; the first is what was there before, the last
            TRUTH.
    """

    name: str
    versions: dict[str, np.ndarray]


@dataclass(frozen=True)
class Spot:
    """A place worth looking at: its picture, corner, and why."""

    name: str
    x: int
    y: int
    why: str


@dataclass(frozen=True)
class Chapter:
    """One table and its pictures.

    Attributes:
        title: heading.
        intro: what was done to the pictures, in a sentence or two.
        rows: of the table, heading -> value; the first value names the row. None shows as a dash.
        exhibits: pictures to take the crops from.
        ours: label of the version that is compared with the first to find large differences.
        chosen: spots that a person chose; those whose picture is not there are left out.
    """

    title: str
    intro: str
    rows: list[dict[str, object]]
    exhibits: list[Exhibit]
    ours: str
    chosen: tuple[Spot, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Headings of the table."""
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def cells(self, row: dict[str, object]) -> list[str]:
        """A row as text: decibels to two digits, SSIM to three."""
        texts = []
        for key in self.columns:
            value = row.get(key)
            digits = 3 if "SSIM" in key else 2
            text = f"{value:.{digits}f}" if isinstance(value, float) else str(value)
            texts.append("–" if value is None else text)
        return texts


def as_text(chapter: Chapter) -> str:
    """The table as lines for a terminal or a Markdown file."""
    lines = [chapter.columns, ["---"] * len(chapter.columns)]
    lines += [chapter.cells(row) for row in chapter.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spots(chapter: Chapter) -> list[Spot]:
    """Where ours differs most from before, one place a picture, then the chosen ones."""
    found = []
    for exhibit in chapter.exhibits:
        if chapter.ours not in exhibit.versions:
            continue
        before, ours = (_of(exhibit, label) for label in (None, chapter.ours))
        x, y, difference = largest_difference(before, ours)
        why = f"where {chapter.ours} changes most: {difference:.1f} levels of 255 on average"
        found.append((difference, Spot(exhibit.name, x, y, why)))
    found.sort(key=lambda pair: -pair[0])
    names = {exhibit.name for exhibit in chapter.exhibits}
    chosen = [spot for spot in chapter.chosen if spot.name in names]
    return [spot for _, spot in found[:LARGEST]] + chosen


def largest_difference(a: np.ndarray, b: np.ndarray, side: int = CROP_PX) -> tuple[int, int, float]:
    """Corner (x, y) of the square of `side` px that differs most, and its mean difference."""
    difference = np.abs(a.astype(np.float64) - b).mean(2)
    height, width = (min(side, length) for length in difference.shape)
    mean = uniform_filter(difference, (height, width), mode="constant", origin=(0, 0))
    # Means of the squares that lie inside; a filter's window begins half its size before.
    top, left = height // 2, width // 2
    inner = mean[top : mean.shape[0] - height + top + 1, left : mean.shape[1] - width + left + 1]
    y, x = np.unravel_index(np.argmax(inner), inner.shape)
    return int(x), int(y), float(inner[y, x])


def write(folder: Path, title: str, about: str, chapters: list[Chapter]) -> Path:
    """Write `folder`/quality.html and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    links = "".join(
        f'<li><a href="#c{i}">{escape(c.title)}</a></li>' for i, c in enumerate(chapters)
    )
    body = "".join(_chapter(i, chapter) for i, chapter in enumerate(chapters))
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{escape(about)}</p>
<p>Every crop is shown pixel for pixel: at a zoom of 100 % one of its pixels is one of the page's.
Look for painted texture, ringing, colour fringes and wobbly text.</p>
<p class="switch"><input type="checkbox" id="double">
<label for="double">Show every pixel twice as large</label></p>
<nav aria-label="Chapters"><ul>{links}</ul></nav>
</header>
<main>{body}</main>
</body>
</html>
"""
    path = folder / "quality.html"
    path.write_text(page, encoding="utf-8")
    return path


STYLE = """
:root { color-scheme: light dark; --line: #8888; --paper: #fff; --ink: #111; --link: #0645ad; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161616; --ink: #eee; --link: #8ab4f8; }
}
body { margin: 1.5rem auto; max-width: 92rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
p { max-width: 46rem; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .15rem .8rem .15rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child { text-align: left; font-weight: 500; }
.crops { display: flex; flex-wrap: wrap; gap: 1rem; margin: 0 0 1.5rem; padding: 0; }
figure { margin: 0; }
figure img { display: block; image-rendering: pixelated; }
figcaption { max-width: 12rem; font-size: .875rem; line-height: 1.3; padding-top: .3rem; }
body:has(#double:checked) figure img { width: calc(2px * var(--w)); height: calc(2px * var(--h)); }
@media print {
  :root { --paper: #fff; --ink: #000; --link: #000; }
  body { margin: 0; max-width: none; font-size: 9pt; }
  nav, .switch { display: none; }
  h3 { break-after: avoid; }
  figure, table { break-inside: avoid; }
  .crops { gap: 3mm; }
}
"""


def _chapter(number: int, chapter: Chapter) -> str:
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in chapter.columns)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in map(chapter.cells, chapter.rows)
    )
    exhibits = {exhibit.name: exhibit for exhibit in chapter.exhibits}
    places = "".join(_place(exhibits[spot.name], spot) for spot in spots(chapter))
    return f"""
<section aria-labelledby="c{number}">
<h2 id="c{number}">{escape(chapter.title)}</h2>
<p>{escape(chapter.intro)}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Numbers: {escape(chapter.title)}">
<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
{places}
</section>"""


def _place(exhibit: Exhibit, spot: Spot) -> str:
    """One place by every method, each with its PSNR there."""
    truth = _crop(exhibit.versions[TRUTH], spot)
    figures = []
    for label, picture in exhibit.versions.items():
        crop = _crop(picture, spot)
        height, width = crop.shape[:2]
        number = "" if label == TRUTH else _decibels(psnr(crop, truth))
        alt = f"{exhibit.name}, {width} by {height} pixels at {spot.x}, {spot.y}: {label}"
        alt += f", {number}" if number else ""
        figures.append(
            f'<figure><img src="{_data_uri(crop)}" width="{width}" height="{height}" '
            f'style="--w:{width};--h:{height}" alt="{escape(alt)}">'
            f"<figcaption><strong>{escape(label)}</strong> {number}</figcaption></figure>"
        )
    title = f"{exhibit.name}: {spot.why}"
    return f'<h3>{escape(title)}</h3>\n<div class="crops">{"".join(figures)}</div>\n'


def _decibels(number: float) -> str:
    return f"{number:.2f} dB here" if number < float("inf") else "equal to the truth"


def _of(exhibit: Exhibit, label: str | None) -> np.ndarray:
    """A version; the first where there is no label."""
    return exhibit.versions[label or next(iter(exhibit.versions))]


def _crop(picture: np.ndarray, spot: Spot) -> np.ndarray:
    height, width = picture.shape[:2]
    y, x = (
        max(0, min(start, length - CROP_PX))
        for start, length in ((spot.y, height), (spot.x, width))
    )
    return picture[y : y + CROP_PX, x : x + CROP_PX]


def _data_uri(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()

"""How large a print a picture's real detail carries; `pipeline/detail.py` measures how far it goes.

Arithmetic on one measured number: the dialogs repeat it for every size that is tried. Knows nothing
of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .pixels import PixelLayout
from .print_size import Size, Window, place, px_to_mm
from .request import Request
from .words import N_, Sentence

NYQUIST = 0.5  # cycles per pixel; no picture holds more
# How far the measure may be off, of itself: with edges to read it from, and from texture alone
# (docs/measurements.md; soft photographs whose edges and texture contradict each other).
WITHIN, WITHIN_OF_TEXTURE = 0.1, 0.4
_FILLED = 0.995  # of the print's resolution: what is missing then is a rounding


@dataclass(frozen=True)
class Detail:
    """How far real detail reaches.

    Attributes:
        reach: cycles per source pixel at which a tenth of the contrast is left, at most 0.5, beyond
            which pixels hold nothing; 0 when the picture shows no detail to tell from.
        edges: on how many edges that rests; 0 when on the spectrum alone.
        enlarged: how many times the picture was enlarged before it came here; 1 when nothing
            tells of it.
    """

    reach: float
    edges: int
    enlarged: float = 1.0

    @property
    def share(self) -> float:
        """Of the picture's resolution that is real, 0..1."""
        return self.reach / NYQUIST

    @property
    def within(self) -> float:
        """How far `reach` may be off, as a part of it."""
        return WITHIN if self.edges else WITHIN_OF_TEXTURE

    def budget(self, window: Window, printed: Size, ppi: float) -> DetailBudget:
        """What that is on paper.

        Args:
            window: the part of the source that is printed, source px.
            printed: its size on the print, px.
            ppi: of the print.
        """
        step = max(window.width / printed.width, window.height / printed.height)
        return DetailBudget(self, min(ppi, self.share * step * ppi), printed, ppi)

    @classmethod
    def from_map(cls, value: Mapping[str, Any]) -> Detail:
        """What a server's report says (`DetailBudget.to_map`) of the picture itself."""
        return cls(
            float(value["reach_cycles_per_px"]),
            int(value["edges"]),
            float(value["enlarged_before"]),
        )


@dataclass(frozen=True)
class DetailBudget:
    """A picture's detail on a print.

    Attributes:
        detail: as measured.
        true_ppi: the print resolution that real detail fills, at most that of the print.
        printed: the picture's size on the print, px.
        ppi: of the print.
    """

    detail: Detail
    true_ppi: float
    printed: Size
    ppi: float

    @property
    def size_mm(self) -> tuple[float, float]:
        """The picture's width and height on paper."""
        return px_to_mm(self.printed.width, self.ppi), px_to_mm(self.printed.height, self.ppi)

    @property
    def honest_mm(self) -> tuple[float, float]:
        """Width and height up to which every pixel of the print is filled: L * true / ppi."""
        width, height = self.size_mm
        return width * self.true_ppi / self.ppi, height * self.true_ppi / self.ppi

    @property
    def range_ppi(self) -> tuple[float, float]:
        """Between which `true_ppi` is, by `Detail.within`; at most that of the print."""
        off = self.true_ppi * self.detail.within
        return self.true_ppi - off, min(self.ppi, self.true_ppi + off)

    def to_map(self) -> dict[str, float | int | list[float]]:
        """Plain values, for messages and JSON."""
        return {
            "reach_cycles_per_px": round(self.detail.reach, 4),
            "edges": self.detail.edges,
            "enlarged_before": round(self.detail.enlarged, 2),
            "within": self.detail.within,
            "true_ppi": round(self.true_ppi, 1),
            "honest_mm": [round(mm, 1) for mm in self.honest_mm],
        }

    def told(self) -> Sentence:
        """For people, in any language; a figure read from texture alone comes with its range."""
        if not self.detail.reach:
            return Sentence(
                N_("The picture shows no edge or texture from which its detail could be told.")
            )
        width, height = (mm / 10 for mm in self.size_mm)
        honest_width, honest_height = (mm / 10 for mm in self.honest_mm)
        least, most = self.range_ppi
        values = {
            "ppi": self.ppi,
            "true": self.true_ppi,
            "least": least,
            "most": most,
            "width": width,
            "height": height,
            "honest_width": honest_width,
            "honest_height": honest_height,
            "times": self.detail.enlarged,
        }
        if self.true_ppi >= self.ppi * _FILLED:
            text = N_("True detail for all {ppi:g} ppi at {width:.0f} x {height:.0f} cm.")
        elif not self.detail.edges:
            text = N_(
                "True detail for {true:.0f} ppi ({least:.0f} to {most:.0f}, as read from texture "
                "alone) at {width:.0f} x {height:.0f} cm; honest up to {honest_width:.0f} x "
                "{honest_height:.0f} cm at {ppi:g} ppi."
            )
        else:
            text = N_(
                "True detail for {true:.0f} ppi at {width:.0f} x {height:.0f} cm; honest up to "
                "{honest_width:.0f} x {honest_height:.0f} cm at {ppi:g} ppi."
            )
        if self.detail.enlarged > 1.0:
            before = N_("{detail} The picture was enlarged before, about {times:.1f} times.")
            return Sentence(before, {"detail": Sentence(text, values), **values})
        return Sentence(text, values)

    def sentence(self) -> str:
        """For people, in English."""
        return str(self.told())


def measure_request(size: Size, layout: PixelLayout) -> Request:
    """The job that only has a server measure a picture's detail, for `Detail.from_map`.

    The picture as it is, which needs no network and is quicker than reducing it; what comes back
    can be thrown away.

    Args:
        size: of the picture, px.
        layout: of its pixels.
    """
    return Request.build(size, layout, place(size, size), repair=0, deblur=0, sharpen="none")

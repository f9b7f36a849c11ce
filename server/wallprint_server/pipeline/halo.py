"""Output sharpening as arithmetic: how wide a halo the print wants, and which sigma makes it.

No pixels here, and no torch; `sharpen.py` applies the numbers. All widths are one side of the
edge, from its centre.

References:
    Fraser and Schewe, Real World Image Sharpening, 2nd ed., 2009 (halo of 1/100 to 1/50 in).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, log, sqrt

from wallprint_protocol.print_size import wanted_halo_mm

from ..imaging.reach import gaussian_reach

# The sharpest edges of an enlarged picture are blurred by about this Gaussian, px (0.5 to 0.7).
EDGE_SIGMA_PX = 0.6
MIN_SIGMA_PX = 0.3
AMOUNTS = {"low": 0.5, "standard": 1.0, "high": 1.5}
# Ink spreads more on matte paper and canvas than on glossy paper or film; two routines, no more
# (Fraser).
MEDIA = {"glossy": 1.0, "backlit": 1.0, "matte": 1.15, "canvas": 1.15}


@dataclass(frozen=True)
class OutputSharpening:
    """An unsharp mask fitted to a print.

    Attributes:
        sigma_px: Gaussian of the mask, px of the print.
        amount: share of the difference that is added; 1 = 100 %.
        halo_px: width that an edge of `EDGE_SIGMA_PX` gets.
        overshoot: its height as a share of the edge's contrast.
        medium: what it was made for.
    """

    sigma_px: float
    amount: float
    halo_px: float
    overshoot: float
    medium: str

    @property
    def reach_px(self) -> int:
        """Pixels around a pixel that decide it."""
        return gaussian_reach(self.sigma_px)


def _phi(z: float) -> float:
    """Standard normal distribution."""
    return 0.5 * (1 + erf(z / sqrt(2)))


def edge_change(x_px: float, edge_px: float, sigma_px: float) -> float:
    """Change beside an edge of contrast 1 at distance x, for amount 1.

    The edge is blurred by a Gaussian of `edge_px`; blurring once more by `sigma_px` gives
    t = sqrt(edge^2 + sigma^2), so the unsharp mask adds Phi(x / edge) - Phi(x / t).
    """
    return _phi(x_px / edge_px) - _phi(x_px / sqrt(edge_px**2 + sigma_px**2))


def peak_px(edge_px: float, sigma_px: float) -> float:
    """Distance from the edge at which the halo is highest."""
    t = sqrt(edge_px**2 + sigma_px**2)
    return sqrt(2 * log(t / edge_px) / (1 / edge_px**2 - 1 / t**2))


def halo_width_px(edge_px: float, sigma_px: float) -> float:
    """Distance beyond the peak at which the change has fallen to a tenth of it."""
    peak = peak_px(edge_px, sigma_px)
    level = 0.1 * edge_change(peak, edge_px, sigma_px)
    low, high = peak, peak + 8 * sqrt(edge_px**2 + sigma_px**2)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if edge_change(middle, edge_px, sigma_px) > level else (low, middle)
        )
    return (low + high) / 2


def sigma_for_halo(halo_px: float, edge_px: float = EDGE_SIGMA_PX) -> float:
    """Sigma of the unsharp mask whose halo is `halo_px` wide, by bisection.

    No sigma makes a halo narrower than 2.76 edge widths; then `MIN_SIGMA_PX` is returned and the
    real halo is what `halo_width_px` says.
    """
    low, high = MIN_SIGMA_PX, max(1.0, 2 * halo_px)
    if halo_width_px(edge_px, low) >= halo_px:
        return low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if halo_width_px(edge_px, middle) < halo_px else (low, middle)
    return (low + high) / 2


def output_sharpening(
    medium: str, strength: str, ppi: float, distance_mm: float
) -> OutputSharpening | None:
    """The sharpening for a print, or None for a medium that wants none (screen)."""
    if medium not in MEDIA:
        return None
    sigma = sigma_for_halo(wanted_halo_mm(distance_mm) / 25.4 * ppi)
    amount = AMOUNTS[strength] * MEDIA[medium]
    return OutputSharpening(
        sigma_px=sigma,
        amount=amount,
        halo_px=halo_width_px(EDGE_SIGMA_PX, sigma),
        overshoot=amount * edge_change(peak_px(EDGE_SIGMA_PX, sigma), EDGE_SIGMA_PX, sigma),
        medium=medium,
    )

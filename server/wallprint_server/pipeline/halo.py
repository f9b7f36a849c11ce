"""Output sharpening as arithmetic: how wide a halo the print wants, and which mask makes it.

No pixels here, and no torch; `sharpen.py` applies the numbers, and `halo_meter.py` reads them off
the print. All widths are one side of the edge, from its centre.

References:
    Fraser and Schewe, Real World Image Sharpening, 2nd ed., 2009 (halo of 1/100 to 1/50 in).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, log, pi, sqrt

from wallprint_protocol.print_size import wanted_halo_mm

from ..imaging.reach import gaussian_reach

# The sharpest edges of an enlarged picture are blurred by about this Gaussian, px (0.5 to 0.7).
EDGE_SIGMA_PX = 0.6
MIN_SIGMA_PX = 0.3
AMOUNTS = {"low": 0.5, "standard": 1.0, "high": 1.5}
# Ink spreads more on matte paper and canvas than on glossy paper or film; two routines, no more
# (Fraser).
MEDIA = {"glossy": 1.0, "backlit": 1.0, "matte": 1.15, "canvas": 1.15}
# Where a measured medium shall lose nothing: half of Nyquist, cycles per px.
RESTORED_AT = 0.25
# A medium that would take more is not printed on at this ppi; more would only raise the noise.
MOST_AMOUNT = 3.0


@dataclass(frozen=True)
class OutputSharpening:
    """An unsharp mask fitted to a print.

    Attributes:
        sigma_px: Gaussian of the mask, px of the print.
        amount: share of the difference that is added; 1 = 100 %.
        halo_px: width that an edge of `edge_px` gets.
        overshoot: its height as a share of the edge's contrast.
        medium: what it was made for.
        edge_px: Gaussian width of the edges that it was made for, px.
    """

    sigma_px: float
    amount: float
    halo_px: float
    overshoot: float
    medium: str
    edge_px: float = EDGE_SIGMA_PX

    @property
    def narrowest(self) -> bool:
        """Whether edges like these allow no narrower halo, so that this one hardly shows."""
        return self.sigma_px <= MIN_SIGMA_PX

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


def amount_for_spread(sigma_px: float, spread_px: float) -> float:
    """Amount that makes up for a medium: with it, contrast at `RESTORED_AT` is that of the file.

    A Gaussian spread leaves M = exp(-2 pi^2 spread^2 f^2) of the contrast at f; an unsharp mask
    gives 1 + a (1 - exp(-2 pi^2 sigma^2 f^2)), and both together shall be 1. At most `MOST_AMOUNT`.
    """
    lost, masked = (
        1 - exp(-2 * (pi * width * RESTORED_AT) ** 2) for width in (spread_px, sigma_px)
    )
    return min(MOST_AMOUNT, lost / max(1e-9, (1 - lost) * masked))


def output_sharpening(
    medium: str,
    strength: str,
    ppi: float,
    distance_mm: float,
    *,
    halo_mm: float = 0.0,
    spread_mm: float = 0.0,
    edge_px: float = EDGE_SIGMA_PX,
) -> OutputSharpening | None:
    """The sharpening for a print, or None for a medium that wants none (screen).

    Args:
        medium: a key of MEDIA, or another for none.
        strength: a key of AMOUNTS; "standard" of a measured medium restores it exactly.
        ppi: of the print.
        distance_mm: from which it is seen; decides the halo where `halo_mm` does not.
        halo_mm: width of the halo, 0 for what suits the distance.
        spread_mm: Gaussian sigma of the ink on the medium, 0 where it was not measured and the
            medium's routine decides.
        edge_px: Gaussian width of the picture's edges on the print, px.
    """
    if medium not in MEDIA:
        return None
    sigma = sigma_for_halo((halo_mm or wanted_halo_mm(distance_mm)) / 25.4 * ppi, edge_px)
    routine = amount_for_spread(sigma, spread_mm / 25.4 * ppi) if spread_mm else MEDIA[medium]
    amount = AMOUNTS[strength] * routine
    return OutputSharpening(
        sigma_px=sigma,
        amount=amount,
        halo_px=halo_width_px(edge_px, sigma),
        overshoot=amount * edge_change(peak_px(edge_px, sigma), edge_px, sigma),
        medium=medium,
        edge_px=edge_px,
    )

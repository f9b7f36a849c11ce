"""How far each pixel operation looks: numbers that the operations and the plan share. No torch.

The plan makes a tile's border of them; one place keeps the two in step. Only a network's reach and
that of its anchor are not added but the larger taken: in the outermost pixels the anchor's faint
tails see answers that lack a part of their neighbourhood, which changes a photograph by less than
1e-4 of a level and text by 0.004, and would cost a tenth of the time.
"""

from __future__ import annotations

from math import ceil

# Colours under alpha 0 are filled by averages over boxes of these radii, one after the other.
FILL_RADII_PX = (1, 2, 4, 8, 16)
FILL_REACH_PX = sum(FILL_RADII_PX)
# Kernel of the exact resampler: Lanczos of three lobes.
KERNEL_LOBES = 3
# Gaussians are cut at this many sigma.
GAUSSIAN_CUT = 4
# Low-pass that tells the source's own content from a network's detail, source px.
ANCHOR_SIGMA_PX = 1.5
# Bicubic enlargement (2), local mean (1), low-pass, and its bicubic enlargement (2).
ANCHOR_REACH_PX = 2 + 1 + ceil(GAUSSIAN_CUT * ANCHOR_SIGMA_PX) + 2
# Neighbourhood in which the source must differ before a repair may change anything.
# A JPEG's blocks of colour are 16 px wide and may be even inside.
FLAT_REACH_PX = 16
# Neighbourhood in which the source must show colour before a network may add some.
NEUTRAL_REACH_PX = 2
# Neighbourhood in which the source must have texture before a network may add some.
TEXTURE_REACH_PX = 2
# Neighbourhood of a disagreement with the source in which a network is not believed.
TRUST_REACH_PX = 6
# Neighbourhood of the source whose heaviest ink a CMYK result may reach.
INK_REACH_PX = 2
# Result pixels that a tile computes again of its left and its upper neighbour, to compare.
SEAM_PX = 2


def kernel_reach(step: float) -> float:
    """Reach of the resampling kernel in input px when one output px spans `step` input px."""
    return KERNEL_LOBES * max(1.0, step)


def gaussian_reach(sigma_px: float) -> int:
    """Pixels around a pixel that a Gaussian of `sigma_px` takes in."""
    return max(1, ceil(GAUSSIAN_CUT * sigma_px))

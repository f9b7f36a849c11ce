"""Enlarging by a ladder of networks: the networks add detail, the source keeps everything else.

A network's answer is used only as *detail*: the difference to a plain enlargement of its input.
What lies below the source's own cut-off comes from the source itself, in float32. So a smooth
16-bit gradient stays smooth whatever precision the network ran in, grey stays grey, a flat field
stays exactly flat and the mean colour does not move.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..imaging.local import gaussian_blur, inner_mean_3x3, local_max, strip_floats
from ..imaging.reach import ANCHOR_SIGMA_PX, NEUTRAL_REACH_PX, TEXTURE_REACH_PX, TRUST_REACH_PX

# Details weaker than this are below what an 8-bit training picture can show: noise of the network.
CORE_LOW, CORE_HIGH = 0.5 / 255, 1.5 / 255
# Departure of the source from a local plane at which a network may add detail in full, and below
# which it may add none: what is as smooth as that is a gradient (or a rounded one), not texture.
SMOOTH_LOW, SMOOTH_HIGH = 0.25 / 255, 1.0 / 255
# Disagreement with the source up to which a network is believed, and from which it is not.
# By style. Largest on text, Set14 and Urban100: SPAN 0.17, Real-ESRGAN, which invents, 0.36; with
# SPAN's limits it leaves blurred spots. A user's own network, of no style, may be of either kind.
DISTRUST = {"faithful": (0.2, 0.3), "enhanced": (0.5, 0.75), "": (0.5, 0.75)}
# A result may leave the range of the source around it by this many times that range: enough for
# any detail that a source pixel can average away, too little for a network that runs away.
RANGE_SHARE = 1.0
# Chroma range in the source at which the network may add colour detail in full.
NEUTRAL_LIMIT = 2 / 255

KEYS_REACH_PX = 2

Apply = Callable[[Tensor], Tensor]


def plain_enlarge(x: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement by a whole factor, (1, C, H, W) float32.

    Keys' kernel with a = -1/2 (what torch uses with `antialias`): it reproduces straight ramps
    exactly, while the -3/4 of the other mode ripples on every gradient.

    References:
        Keys, Cubic convolution interpolation, IEEE TASSP 29 (1981).
    """
    if scale == 1:
        return x
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False, antialias=True)


def firm(d: Tensor, low: float = CORE_LOW, high: float = CORE_HIGH) -> Tensor:
    """Firm shrinkage: 0 below `low`, unchanged above `high`, a straight line between.

    References:
        Gao and Bruce, WaveShrink with firm shrinkage, Statistica Sinica 7 (1997).
    """
    magnitude = d.abs()
    shrunk = (magnitude - low).mul_(high / (high - low)).clamp_min_(0.0)
    return torch.minimum(shrunk, magnitude, out=shrunk).copysign_(d)


def _at_scale(gate: Tensor, scale: int) -> Tensor:
    return F.interpolate(gate, scale_factor=scale, mode="nearest") if scale > 1 else gate


def texture_gate(x: Tensor) -> Tensor:
    """How much detail may be added: 0 where the source is flat or a plain gradient, else 1.

    Networks pad with zeros and have a faint pattern of their own: without the gate a flat sky
    would get a rim of up to 2.7 levels at the picture's border and a 16-bit ramp would lose its
    order there.

    Args:
        x: (1, C, H, W).

    Returns:
        (1, 1, H, W) in [0, 1].
    """
    if min(x.shape[-2:]) < 3:
        rough = (x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)).abs()
    else:  # at the border a one-sided mean would take a ramp for texture: repeat the inner value
        rough = (x[..., 1:-1, 1:-1] - inner_mean_3x3(x)).abs()
        rough = F.pad(rough, (1, 1, 1, 1), mode="replicate")
    rough = local_max(rough.amax(1, keepdim=True), TEXTURE_REACH_PX)
    return ((rough - SMOOTH_LOW) / (SMOOTH_HIGH - SMOOTH_LOW)).clamp_(0.0, 1.0)


def trust_gate(error: Tensor, low: float, high: float) -> Tensor:
    """How far a network's answer can be trusted: 1 where it agrees with the source, 0 where not.

    Averaged over a source pixel, an enlargement must give that pixel, or nearly so. Where SPAN
    meets what it cannot cope with (a checkerboard of magenta and green) it is off by whole units,
    and everything within its reach is noise.

    Args:
        error: (1, C, H, W), mean of the answer over each source pixel minus that pixel.
        low: disagreement up to which the network is believed.
        high: disagreement from which it is not.

    Returns:
        (1, 1, H, W) in [0, 1].
    """
    worst = local_max(error.abs().amax(1, keepdim=True), TRUST_REACH_PX)
    return ((high - worst) / (high - low)).clamp_(0.0, 1.0)


def chroma_gate(x: Tensor) -> Tensor:
    """How much colour detail may be added: 0 where the source is neutral, 1 where it has colour.

    Args:
        x: (1, 3, H, W).

    Returns:
        (1, 1, H, W) in [0, 1].
    """
    spread = x.amax(1, keepdim=True) - x.amin(1, keepdim=True)
    return (local_max(spread, NEUTRAL_REACH_PX) / NEUTRAL_LIMIT).clamp_(max=1.0)


@torch.inference_mode()  # networks answer with inference tensors, and these are written into
def anchored(x: Tensor, network: Apply, scale: int, style: str = "faithful") -> Tensor:
    """One step of the ladder: plain enlargement plus the network's detail.

    Args:
        x: (1, C, H, W) float32, C = 1, 3 or 4; values beyond [0, 1] (floating-point documents)
            travel beside the network.
        network: (1, 3, H, W) in [0, 1] -> (1, 3, sH, sW).
        scale: whole factor of the network.
        style: of the network, a key of `DISTRUST`.

    Returns:
        (1, C, sH, sW).
    """
    if x.shape[1] == 4:  # inks: CMY together, K as a grey picture of its own
        parts = (x[:, :3], x[:, 3:])
        return torch.cat([anchored(part, network, scale, style) for part in parts], 1)
    inside = x.clamp(0.0, 1.0)
    grey = x.shape[1] == 1
    y = network(inside.expand(-1, 3, -1, -1).contiguous() if grey else inside)
    if grey:
        y = y.mean(1, keepdim=True)
    # What the answer says about the source's own pixels, and by how much that is wrong.
    error = (F.avg_pool2d(y, scale) if scale > 1 else y) - inside
    low, high = DISTRUST[style]
    slow = gaussian_blur(error.clamp(-high, high), ANCHOR_SIGMA_PX)
    gates = (
        texture_gate(inside).mul_(trust_gate(error, low, high)),
        None if grey else chroma_gate(inside),
    )
    return _add_detail(x, inside, y, slow, gates, scale)


def _add_detail(
    x: Tensor,
    inside: Tensor,
    y: Tensor,
    slow: Tensor,
    gates: tuple[Tensor, Tensor | None],
    scale: int,
) -> Tensor:
    """Plain enlargement of `x` plus the gated detail of `y`; overwrites and returns `y`.

    Works in strips: some twenty passes over an enlarged tile cost a quarter of the network's time
    when each goes through main memory, and a twentieth when a strip stays in the cache.
    """
    height, width = x.shape[-2:]
    # At least so many rows that the kernel's reach around them is no large part of the work.
    rows = max(16, strip_floats(x) // (x.shape[1] * width * scale * scale))
    texture, chroma = gates
    highest, lowest = local_max(x, TEXTURE_REACH_PX), -local_max(-x, TEXTURE_REACH_PX)
    slack = RANGE_SHARE * (highest - lowest)
    highest, lowest = highest + slack, lowest - slack
    beyond = not torch.equal(x, inside)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        # Rows around the strip that the bicubic kernel looks at.
        low, high = max(0, top - KEYS_REACH_PX), min(height, bottom + KEYS_REACH_PX)
        cut = slice((top - low) * scale, (bottom - low) * scale)
        plain = plain_enlarge(inside[..., low:high, :], scale)[..., cut, :]
        slower = plain_enlarge(slow[..., low:high, :], scale)[..., cut, :]
        strip = y[..., top * scale : bottom * scale, :]
        detail = firm(strip - plain - slower)
        detail.mul_(_at_scale(texture[..., top:bottom, :], scale))
        if chroma is not None:
            mean = detail.mean(1, keepdim=True)
            detail.sub_(mean).mul_(_at_scale(chroma[..., top:bottom, :], scale)).add_(mean)
        if beyond:
            plain = plain_enlarge(x[..., low:high, :], scale)[..., cut, :]
        torch.add(plain, detail, out=strip)
        torch.minimum(strip, _at_scale(highest[..., top:bottom, :], scale), out=strip)
        torch.maximum(strip, _at_scale(lowest[..., top:bottom, :], scale), out=strip)
    return y

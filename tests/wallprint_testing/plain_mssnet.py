"""MSSNet written down operation by operation, slow and plain: what the network is compared with.

Works on a table of tensors and shares no code with the network.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def six_images(t: dict[str, Tensor], x: Tensor, *, corners: bool = True) -> list[Tensor]:
    """(B, 3, H, W) -> res1_1 (half size), res2_1, res2_2, res3_1, res3_2, res3_3."""

    def conv(key: str, a: Tensor) -> Tensor:
        weight = t[f"{key}.weight"]
        return F.conv2d(a, weight, padding=weight.shape[-1] // 2)

    def block(key: str, a: Tensor) -> Tensor:
        inner = F.prelu(conv(f"{key}.body.0", a), t[f"{key}.body.1.weight"])
        return a + conv(f"{key}.body.2", inner)

    def two_blocks(key: str, a: Tensor) -> Tensor:
        return block(f"{key}.1", block(f"{key}.0", a))

    def half(a: Tensor) -> Tensor:
        return F.interpolate(a, scale_factor=0.5, mode="bilinear", align_corners=False)

    def dbl(a: Tensor) -> Tensor:
        return F.interpolate(a, scale_factor=2.0, mode="bilinear", align_corners=False)

    def encoder(name: str, a: Tensor, cross: tuple[list[Tensor], list[Tensor]] | None):
        levels = []
        for level in (1, 2, 3):
            if level > 1:
                a = conv(f"{name}.down{level - 1}{level}.down.1", half(a))
            a = two_blocks(f"{name}.encoder_level{level}", a)
            if cross is not None:
                a = a + conv(f"{name}.csff_enc{level}", cross[0][level - 1])
                a = a + conv(f"{name}.csff_dec{level}", cross[1][level - 1])
            levels.append(a)
        return levels

    def decoder(name: str, e: list[Tensor]) -> list[Tensor]:
        d3 = two_blocks(f"{name}.decoder_level3", e[2])
        a = conv(f"{name}.up32.up.1", dbl(d3)) + block(f"{name}.skip_attn2", e[1])
        d2 = two_blocks(f"{name}.decoder_level2", a)
        a = conv(f"{name}.up21.up.1", dbl(d2)) + block(f"{name}.skip_attn1", e[0])
        return [two_blocks(f"{name}.decoder_level1", a), d2, d3]

    def shallow(i: int, a: Tensor) -> Tensor:
        return block(f"shallow_feat{i}.1", conv(f"shallow_feat{i}.0", a))

    def fused(i: int, a: Tensor, coarse: Tensor) -> Tensor:
        coarse = conv(f"up_scale{i - 1}_feat.scaleUp.1", dbl(coarse))
        return conv(f"fusion{i - 1}{i}", torch.cat([a, coarse], 1))

    size = (x.shape[2] // 2, x.shape[3] // 2)
    b2 = F.interpolate(x, size=size, mode="bilinear", align_corners=corners)
    e11 = encoder("E1_1", shallow(1, F.pixel_unshuffle(b2, 2)), None)
    d11 = decoder("D1_1", e11)
    images = [F.pixel_shuffle(conv("tail1_1.tail", d11[0]), 2) + b2]
    start = fused(2, shallow(2, F.pixel_unshuffle(x, 2)), d11[0])
    e21 = encoder("E2_1", start, ([dbl(a) for a in e11], [dbl(a) for a in d11]))
    d21 = decoder("D2_1", e21)
    images.append(F.pixel_shuffle(conv("tail2_1.tail", d21[0]), 2) + x)
    e22 = encoder("E2_2", d21[0], (e21, d21))
    d22 = decoder("D2_2", e22)
    images.append(F.pixel_shuffle(conv("tail2_2.tail", d22[0]), 2) + x)
    start = fused(3, shallow(3, x), d22[0])
    e, d = encoder("E3_1", start, ([dbl(a) for a in e22], [dbl(a) for a in d22])), None
    for j in (1, 2, 3):
        if d is not None:
            e = encoder(f"E3_{j}", d[0], (e, d))
        d = decoder(f"D3_{j}", e)
        images.append(conv(f"tail3_{j}", d[0]) + x)
    return images

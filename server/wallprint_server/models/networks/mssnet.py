"""MSSNet, a deblurring network: three scales, coarse to fine, of one, two and three stages.

Knows nothing of tiles or of how much of its answer is used; files are read by `mssnet_import`.

Every convolution is without bias and padded with zeros, there is no normalisation, and one PReLU
with a single number serves the whole network, under 87 names. Enlarging by a bilinear filter and a
1x1 convolution can be done in either order; here the convolution comes first, on a quarter of the
pixels, which changes the result by no more than float rounding.

References:
    Kim, Lee and Cho, "MSSNet: Multi-Scale-Stage Network for Single Image Deblurring",
    ECCV 2022 workshops, arXiv 2202.09652.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MULTIPLE = 16
# The images that the network gives, in order: half size, then full size; the last is the result.
HEADS = ("res1_1", "res2_1", "res2_2", "res3_1", "res3_2", "res3_3")
DRAFT_HEAD = "res2_2"  # after a sixth of the work, for a first look
VARIANTS = {"small": (20, 40, 40), "base": (54, 42, 42), "large": (80, 50, 50)}

Levels = list[Tensor]


def half_input(x: Tensor) -> Tensor:
    """The picture of the coarsest scale: bilinear, corner on corner.

    The sampling points drift by a pixel from one border to the other, over *the picture given*. For
    tiles it is therefore made once from the whole (padded) picture and cut, never from a tile.

    Args:
        x: (B, 3, H, W), H and W even.

    Returns:
        (B, 3, H/2, W/2) of the same type.
    """
    size = (x.shape[-2] // 2, x.shape[-1] // 2)
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def padded(x: Tensor) -> Tensor:
    """Grow right and bottom to multiples of 16: by reflection, by repetition where that is too far.

    Args:
        x: (B, 3, H, W), any H, W >= 1.
    """
    height, width = x.shape[-2:]
    right, bottom = -width % MULTIPLE, -height % MULTIPLE
    mode = "reflect" if right < width and bottom < height else "replicate"
    return F.pad(x, (0, right, 0, bottom), mode=mode) if right or bottom else x


def load_official(path: str | Path) -> MSSNet:
    """The network of a published checkpoint; see `mssnet_import.load_official`."""
    from .. import mssnet_import

    return mssnet_import.load_official(Path(path))


def _conv3(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)


def _conv1(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 1, bias=False)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class ResidualBlock(nn.Module):
    """`x + conv(act(conv(x)))`.

    Args:
        width: channels in and out.
        act: the network's one PReLU.
    """

    def __init__(self, width: int, act: nn.PReLU) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv3(width, width), act, _conv3(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        y: Tensor = x + self.body(x)
        return y


class Down(nn.Module):
    """Mean over 2x2 pixels, then a 1x1 convolution."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.AvgPool2d(2), _conv1(n_in, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, H, W) -> (B, n_out, H/2, W/2)."""
        y: Tensor = self.down(x)
        return y


class Up(nn.Module):
    """Bilinear enlargement by 2 and a 1x1 convolution (computed in the other order)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Identity(), _conv1(n_in, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, H, W) -> (B, n_out, 2 H, 2 W)."""
        return _doubled(self.up(x))


class ScaleUp(nn.Module):
    """As `Up`, between two scales of the network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scaleUp = nn.Sequential(nn.Identity(), _conv1(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 2 H, 2 W)."""
        return _doubled(self.scaleUp(x))


class Tail(nn.Module):
    """Features of half size to an image: convolution, then the shuffle to pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tail = _conv3(width, 12)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 3, 2 H, 2 W)."""
        return F.pixel_shuffle(self.tail(x), 2)


class Encoder(nn.Module):
    """Three levels, each half the size of the one before.

    Args:
        widths: channels of the levels.
        act: the network's one PReLU.
        crossed: takes features of the stage before.
    """

    def __init__(self, widths: tuple[int, int, int], act: nn.PReLU, *, crossed: bool) -> None:
        super().__init__()
        self.down12, self.down23 = Down(widths[0], widths[1]), Down(widths[1], widths[2])
        for level, width in enumerate(widths, start=1):
            blocks = nn.Sequential(ResidualBlock(width, act), ResidualBlock(width, act))
            self.add_module(f"encoder_level{level}", blocks)
            if crossed:
                self.add_module(f"csff_enc{level}", _conv1(width, width))
                self.add_module(f"csff_dec{level}", _conv1(width, width))

    def forward(self, x: Tensor, before: tuple[Levels, Levels] | None, enlarge: bool) -> Levels:
        """Features of three sizes.

        Args:
            x: (B, w1, H, W).
            before: levels of the encoder and the decoder of the stage before, or None.
            enlarge: that stage was of the coarser scale, its levels have half the size.

        Returns:
            (B, w1, H, W), (B, w2, H/2, W/2), (B, w3, H/4, W/4).
        """
        levels: Levels = []
        for level in (1, 2, 3):
            if level > 1:
                x = self.get_submodule(f"down{level - 1}{level}")(x)
            x = self.get_submodule(f"encoder_level{level}")(x)
            if before is not None:
                e, d = before[0][level - 1], before[1][level - 1]
                cross = self.get_submodule(f"csff_enc{level}")(e)
                cross = cross + self.get_submodule(f"csff_dec{level}")(d)
                x = x + (_doubled(cross) if enlarge else cross)
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """From the smallest level back to the largest, with the encoder's levels beside.

    Args:
        widths: channels of the levels.
        act: the network's one PReLU.
    """

    def __init__(self, widths: tuple[int, int, int], act: nn.PReLU) -> None:
        super().__init__()
        for level, width in enumerate(widths, start=1):
            blocks = nn.Sequential(ResidualBlock(width, act), ResidualBlock(width, act))
            self.add_module(f"decoder_level{level}", blocks)
        self.skip_attn1 = ResidualBlock(widths[0], act)
        self.skip_attn2 = ResidualBlock(widths[1], act)
        self.up32, self.up21 = Up(widths[2], widths[1]), Up(widths[1], widths[0])

    def forward(self, levels: Levels) -> Levels:
        """Levels of the encoder -> as many of the same shapes."""
        e1, e2, e3 = levels
        d3 = self.get_submodule("decoder_level3")(e3)
        d2 = self.get_submodule("decoder_level2")(self.up32(d3) + self.skip_attn2(e2))
        d1 = self.get_submodule("decoder_level1")(self.up21(d2) + self.skip_attn1(e1))
        return [d1, d2, d3]


class MSSNet(nn.Module):
    """Removes blur at the picture's own size; H and W must be multiples of 16.

    Args:
        width: channels of the first level.
        scale: channels that the second level has more than the first.
        vscale: channels that the third level has more than the second.
    """

    def __init__(self, width: int, scale: int, vscale: int) -> None:
        super().__init__()
        act = nn.PReLU()
        widths = (width, width + scale, width + scale + vscale)
        self.widths = widths
        for i, planes in enumerate((12, 12, 3), start=1):
            shallow = nn.Sequential(_conv3(planes, width), ResidualBlock(width, act))
            self.add_module(f"shallow_feat{i}", shallow)
        for i in (1, 2, 3):
            for j in range(1, i + 1):
                self.add_module(f"E{i}_{j}", Encoder(widths, act, crossed=(i, j) != (1, 1)))
                self.add_module(f"D{i}_{j}", Decoder(widths, act))
                tail = Tail(width) if i < 3 else _conv3(width, 3)
                self.add_module(f"tail{i}_{j}", tail)
        self.up_scale1_feat, self.up_scale2_feat = ScaleUp(width), ScaleUp(width)
        self.fusion12, self.fusion23 = _conv3(2 * width, width), _conv3(2 * width, width)

    @classmethod
    def small(cls) -> MSSNet:
        """6.8 M parameters."""
        return cls(*VARIANTS["small"])

    @classmethod
    def base(cls) -> MSSNet:
        """15.6 M parameters."""
        return cls(*VARIANTS["base"])

    @classmethod
    def large(cls) -> MSSNet:
        """28.2 M parameters."""
        return cls(*VARIANTS["large"])

    def stages(
        self, x: Tensor, b2: Tensor | None = None, heads: tuple[str, ...] = HEADS
    ) -> Iterator[tuple[str, Tensor | None]]:
        """Compute stage by stage, so that the caller can show what there is, or stop.

        After 1.8, 9, 16, 46, 73 and 100 % of the work (small).

        Args:
            x: (B, 3, H, W) in [0, 1], H and W multiples of 16.
            b2: (B, 3, H/2, W/2), cut out of `half_input` of the whole picture; None when `x` is
                the whole picture.
            heads: names of the images that are wanted.

        Yields:
            Name of the head, and its image (B, 3, H, W), "res1_1" (B, 3, H/2, W/2), not clamped;
            None where it is not wanted.

        Raises:
            ValueError: sides that do not fit.
        """
        height, width = x.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise ValueError(f"{width} x {height} px: both sides must be multiples of {MULTIPLE}")
        b2 = half_input(x) if b2 is None else b2
        if b2.shape[-2:] != (height // 2, width // 2):
            raise ValueError(f"the half-size picture of {width} x {height} px has {b2.shape[-2:]}")
        before: tuple[Levels, Levels] | None = None
        features = x  # replaced in every round
        for i, planes in enumerate((F.pixel_unshuffle(b2, 2), F.pixel_unshuffle(x, 2), x), start=1):
            shallow = self.get_submodule(f"shallow_feat{i}")(planes)
            if before is not None:
                coarse = self.get_submodule(f"up_scale{i - 1}_feat")(features)
                shallow = self.get_submodule(f"fusion{i - 1}{i}")(torch.cat((shallow, coarse), 1))
            features = shallow
            for j in range(1, i + 1):
                enlarge = j == 1
                levels = self.get_submodule(f"E{i}_{j}")(features, before, enlarge)
                before = (levels, self.get_submodule(f"D{i}_{j}")(levels))
                features = before[1][0]
                head = f"res{i}_{j}"
                base = b2 if i == 1 else x
                wanted = head in heads
                yield head, self.get_submodule(f"tail{i}_{j}")(features) + base if wanted else None

    def forward_all(self, x: Tensor, b2: Tensor | None = None) -> list[Tensor]:
        """The six images, as the training needs them; arguments as in `stages`."""
        return [image for _, image in self.stages(x, b2) if image is not None]

    def forward(
        self,
        x: Tensor,
        b2: Tensor | None = None,
        between: Callable[[], None] | None = None,
        head: str = HEADS[-1],
    ) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> the same, not clamped.

        Args:
            x: as in `stages`.
            b2: as in `stages`.
            between: called after each stage; what it raises ends the work.
            head: of the image that is wanted; with an earlier one of full size the work ends there.
        """
        for name, image in self.stages(x, b2, (head,)):
            if between is not None:
                between()
            if name == head and image is not None:
                return image
        raise ValueError(f"no head {head!r}; there are {', '.join(HEADS)}")

    def whole(self, x: Tensor) -> Tensor:
        """A picture of any size, (B, 3, H, W) in [0, 1] -> the same, not clamped."""
        height, width = x.shape[-2:]
        y: Tensor = self(padded(x))
        return y[..., :height, :width]

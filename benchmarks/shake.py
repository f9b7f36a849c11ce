"""Shaken photographs through the whole pipeline, and blurs that are no shakes.

    python benchmarks/shake.py DATA [--tables photographs,rolled,others] [--every 1] [--save DIR]

DATA is a folder with `val_tiles/*.jpg`, photographs that no network was trained on. They are shaken
as a hand does it - a drift and a swing of shift, roll and zoom, each moment warped on its own, in
linear light, its middle being the sharp picture - and given to `--deblur auto`. `--every N` takes
every Nth; `--save` keeps what was shaken, what came out and the truth, to look at.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from quality import OFF, enhanced, size_of
from quality_scores import as_jpeg, load, psnr, score
from scipy.ndimage import convolve, gaussian_filter, maximum_filter, minimum_filter

from wallprint_server.imaging.color import decode_srgb, encode_srgb
from wallprint_server.models.engine import Engine

BORDER_PX = 16
EXTENT_PX, ROLL_DEG, ZOOM = (5.0, 24.0), 0.5, 0.004
ROLLED = {"14 px": (14.0, 3), "20 px": (20.0, 5)}  # extent and seed of the mosaics
MOSAIC = (2, 3)
# A ring shows where the truth is flat: within FLAT_LEVELS over 15 px.
FLAT_LEVELS, FLAT_PX, LEAST_FLAT = 16, 15, 500
RING_PX = (1.0, 12.0)  # Gaussian widths between which an error is a ring

Change = Callable[[np.ndarray, int], np.ndarray]
CAMERAS: dict[str, Change] = {
    "as it is": lambda x, _seed: x,
    "JPEG 92": lambda x, _seed: as_jpeg(x, 92),
    "noise 3, JPEG 92": lambda x, seed: as_jpeg(noisy(x, seed), 92),
}


@dataclass(frozen=True)
class Data:
    """Photographs, what enhances them, and where results are kept."""

    pictures: dict[str, np.ndarray]
    engine: Engine
    save: Path | None

    def keep(self, name: str, *side_by_side: np.ndarray) -> None:
        """Write a picture, if that was asked for."""
        if self.save is not None:
            self.save.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.concatenate(side_by_side, 1)).save(self.save / f"{name}.png")


@dataclass(frozen=True)
class Motion:
    """A camera's way: (N, 4) shift x and y in px, roll in radians, zoom as a part; and its size."""

    poses: np.ndarray
    extent_px: float


def motion(seed: int, extent_px: float | None = None) -> Motion:
    """The motion of a seed."""
    draw = np.random.default_rng(seed)
    extent = draw.uniform(*EXTENT_PX) if extent_px is None else extent_px
    t = np.linspace(-0.5, 0.5, int(2 * extent) | 1)
    drift, swing = draw.normal(size=4), 0.35 * draw.normal(size=4)
    waves, phase = draw.uniform(0.5, 1.3, 4), draw.uniform(0, 1, 4)
    poses = np.outer(t, drift) + swing * np.sin(2 * np.pi * (np.outer(t, waves) + phase))
    poses -= poses[len(t) // 2]
    apart = np.hypot(*(poses[:, None, :2] - poses[None, :, :2]).transpose(2, 0, 1)).max()
    poses[:, :2] *= extent / apart
    most = np.array([np.deg2rad(ROLL_DEG), ZOOM]) * draw.uniform(size=2)
    poses[:, 2:] *= most / np.maximum(np.abs(poses[:, 2:]).max(0), 1e-9)
    return Motion(poses, extent)


def shaken(picture: np.ndarray, moved: Motion) -> np.ndarray:
    """(H, W, 3) uint8 -> the same as that camera takes it."""
    height, width = picture.shape[:2]
    light = decode_srgb(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255)
    y, x = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )  # fmt: skip
    total = torch.zeros_like(light)
    for right, down, roll, zoom in moved.poses.tolist():
        column, row = x + right - roll * y + zoom * x, y + down + roll * x + zoom * y
        grid = torch.stack([column / ((width - 1) / 2), row / ((height - 1) / 2)], -1)[None]
        total += torch.nn.functional.grid_sample(
            light, grid, mode="bicubic", padding_mode="reflection", align_corners=True
        )
    mean = encode_srgb((total / len(moved.poses)).clamp(0, 1))[0].permute(1, 2, 0)
    return (mean * 255).round().byte().numpy()


def noisy(picture: np.ndarray, seed: int) -> np.ndarray:
    """With noise of 3 levels."""
    grain = np.random.default_rng(seed).normal(0, 3, picture.shape)
    return (picture + grain).round().clip(0, 255).astype(np.uint8)


def ring(result: np.ndarray, truth: np.ndarray) -> float | None:
    """Root mean square of what a result has in flat places and the truth has not, levels.

    None where the truth is nowhere flat.
    """
    y, x = best_place(result, truth)
    truth = np.roll(truth, (y, x), (0, 1))
    grey = truth.astype(np.float64).mean(2)
    flat = maximum_filter(grey, FLAT_PX) - minimum_filter(grey, FLAT_PX) < FLAT_LEVELS
    flat[:BORDER_PX], flat[-BORDER_PX:] = False, False
    flat[:, :BORDER_PX], flat[:, -BORDER_PX:] = False, False
    if flat.sum() < LEAST_FLAT:
        return None
    error = result.astype(np.float64) - truth
    narrow, wide = (gaussian_filter(error, (px, px, 0)) for px in RING_PX)
    return float(np.sqrt(((narrow - wide)[flat] ** 2).mean()))


def best_place(result: np.ndarray, truth: np.ndarray, most: int = 10) -> tuple[int, int]:
    """The whole shift (y, x) by which a result lies off the truth."""
    shifts = [(y, x) for y in range(-most, most + 1) for x in range(-most, most + 1)]
    return max(shifts, key=lambda at: psnr(result, np.roll(truth, at, (0, 1)), BORDER_PX + most))


@dataclass(frozen=True)
class Outcome:
    """What became of a picture: the shake that was found, gains in dB, and rings in levels."""

    picture: np.ndarray
    report: dict[str, Any]
    gain: float
    gain_moved: float
    rings: float | None

    @property
    def found(self) -> str:
        """Extent of the shake, px, or a dash."""
        shake = self.report["shake"]
        return f"{shake['px']:.0f}" if shake else "-"

    def cells(self) -> str:
        """Gains and rings of a row."""
        rings = "-" if self.rings is None else f"{self.rings:.2f}"
        return f"{self.gain:+.2f} | {self.gain_moved:+.2f} | {rings}"


def means(found: list[Outcome]) -> str:
    """Cells of a row of means; where there is nothing flat there are no rings to count."""
    rings = [one.rings for one in found if one.rings is not None]
    values = ([one.gain for one in found], [one.gain_moved for one in found], rings)
    gain, moved, ringing = (float(np.mean(value)) for value in values)
    return f"{gain:+.2f} | {moved:+.2f} | {ringing:.2f}"


def outcome(taken: np.ndarray, truth: np.ndarray, engine: Engine) -> Outcome:
    """`--deblur auto` on a picture."""
    result, report = enhanced(taken, size_of(taken), engine, **{**OFF, "deblur": None})
    gain = score(result, truth, BORDER_PX) - score(taken, truth, BORDER_PX)
    return Outcome(result, report.to_map(), gain.psnr, gain.psnr_moved, ring(result, truth))


def photographs(data: Data) -> Iterator[str]:
    """Every photograph shaken, then the means under each camera."""
    yield "| photograph | moved by, found, px | dB | dB at the best place | rings, levels |"
    yield "|---|---|---|---|---|"
    for label, camera in CAMERAS.items():
        found = []
        for seed, (name, truth) in enumerate(data.pictures.items()):
            moved = motion(seed)
            taken = camera(shaken(truth, moved), seed)
            found.append(outcome(taken, truth, data.engine))
            data.keep(f"{name}-{label}", taken, found[-1].picture, truth)
            if label == "as it is":
                yield (
                    f"| {name} | {moved.extent_px:.0f}, {found[-1].found} | {found[-1].cells()} |"
                )
        worst = min(one.gain for one in found)
        left = sum(one.found == "-" for one in found)
        yield (
            f"| **{label}**: mean of {len(found)}, worst {worst:+.2f}, {left} left alone | | "
            f"{means(found)} |"
        )


def rolled(data: Data) -> Iterator[str]:
    """Larger pictures, put together from photographs, shaken with a roll that shows."""
    yield "| picture | roll, degrees, found | dB | dB at the best place | rings | seams |"
    yield "|---|---|---|---|---|---|"
    rows, columns = MOSAIC
    pictures = list(data.pictures.values())
    for number, (label, (extent, seed)) in enumerate(ROLLED.items()):
        first = number * rows * columns
        chosen = [pictures[(first + i) % len(pictures)] for i in range(rows * columns)]
        truth = np.concatenate(
            [np.concatenate(chosen[i * columns : (i + 1) * columns], 1) for i in range(rows)]
        )
        moved = motion(seed, extent)
        taken = shaken(truth, moved)
        one = outcome(taken, truth, data.engine)
        data.keep(f"rolled-{label}", taken, one.picture, truth)
        shake = one.report["shake"]
        yield (
            f"| {truth.shape[1]} x {truth.shape[0]} px, {label} | "
            f"{np.degrees(np.ptp(moved.poses[:, 2])):.2f}, "
            f"{shake['roll_degrees'] if shake else '-'} | {one.cells()} | "
            f"{one.report['seams']['left']} left of {one.report['seams']} |"
        )


def others(data: Data) -> Iterator[str]:
    """What is no shake must be left alone."""
    yield "| blur | taken for a shake | dB lost, most |"
    yield "|---|---|---|"
    for label, blur in {
        "none": lambda x: x,
        **{f"Gaussian of {px} px": lambda x, px=px: defocused(x, gaussian(px)) for px in (1.5, 3)},
        **{f"disc of radius {px} px": lambda x, px=px: defocused(x, disc(px)) for px in (3, 6)},
    }.items():
        found = [
            outcome(as_jpeg(blur(truth), 95), truth, data.engine)
            for truth in data.pictures.values()
        ]
        taken = sum(one.found != "-" for one in found)
        lost = max(0.0, *(-one.gain for one in found))
        yield f"| {label} | {taken} of {len(found)} | {lost:.2f} |"


def gaussian(sigma_px: float) -> np.ndarray:
    """Kernel of that width."""
    at = np.arange(-12, 13)
    line = np.exp(-0.5 * (at / sigma_px) ** 2)
    return np.outer(line, line) / line.sum() ** 2


def disc(radius_px: float) -> np.ndarray:
    """Kernel of a lens that is out of focus."""
    at = np.arange(-12, 13)
    kernel = np.clip(radius_px + 0.5 - np.hypot(at[:, None], at), 0, 1)
    return kernel / kernel.sum()


def defocused(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 through a kernel, in linear light."""
    light = decode_srgb(torch.from_numpy(picture.copy()).float() / 255).numpy()
    soft = np.stack([convolve(light[..., c], kernel, mode="reflect") for c in range(3)], -1)
    return (encode_srgb(torch.from_numpy(soft).clamp(0, 1)) * 255).round().byte().numpy()


TABLES: dict[str, Callable[[Data], Iterator[str]]] = {
    "photographs": photographs,
    "rolled": rolled,
    "others": others,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    files = sorted((args.data / "val_tiles").glob("*.jpg"))[:: args.every]
    if not files:
        parser.error(f"there are no pictures in {args.data / 'val_tiles'}")
    data = Data({f.stem: load(f) for f in files}, Engine("auto", args.threads), args.save)
    for name in args.tables.split(","):
        print(f"\n{name}: {TABLES[name].__doc__}\n")
        for line in TABLES[name](data):
            print(line, flush=True)


if __name__ == "__main__":
    main()

"""Quality against known truth: enlargement and artefact removal, through the whole pipeline.

    python benchmarks/quality.py DATA [--sets Set5,Set14,Urban100] [--tile 128] [--json FILE]

DATA is a folder with `sr_x4/` (pairs NNN_HR, NNN_LRx4) and `jpeg/` (clean crops). Prints tables
of PSNR in dB on the Y channel (8-bit, BT.601, border of `scale` px removed for enlargement) and
writes them as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Placement, Rect, Size, Window
from wallprint_protocol.request import Request
from wallprint_server.models.engine import Engine
from wallprint_server.pipeline.enhance import enhance
from wallprint_server.raster import Raster

RGB8 = PixelLayout("RGB", "u8")


def luma(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> Y of BT.601 in 16..235, float64."""
    return picture.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def psnr_y(picture: np.ndarray, truth: np.ndarray, border: int) -> float:
    """PSNR of Y in dB without `border` px."""
    a, b = (
        luma(p)[border : p.shape[0] - border, border : p.shape[1] - border]
        for p in (picture, truth)
    )
    return float(10 * np.log10(255**2 / np.mean((a - b) ** 2)))


def run(picture: np.ndarray, out: Size, engine: Engine, **options: object) -> np.ndarray:
    """The whole pipeline on an (H, W, 3) uint8 array."""
    source = Size(picture.shape[1], picture.shape[0])
    placement = Placement(
        out, Window(0, 0, source.width, source.height), Rect(0, 0, out.width, out.height)
    )
    request = Request.build(source, RGB8, placement, **options)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as made:
        given.write(np.ascontiguousarray(picture).tobytes())
        given.flush()
        made.truncate(out.pixels * 3)
        result = Raster(made.fileno(), out, 3)
        enhance(
            request,
            Raster(given.fileno(), source, 3),
            None,
            result,
            engine=engine,
            on_progress=lambda *_: None,
            should_cancel=lambda: False,
        )
        data = result.read(Rect(0, 0, out.width, out.height))
    return np.frombuffer(data, np.uint8).reshape(out.height, out.width, 3)


def load(path: Path) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.asarray(Image.open(path).convert("RGB"))


def pairs(folder: Path, limit: int | None, scale: int = 4) -> list[tuple[Path, Path]]:
    """(low, high) resolution files of one set, in order."""
    found = []
    for low in sorted(folder.glob(f"*_LRx{scale}.png"))[:limit]:
        stem = low.name.split("_")[0]
        high = sorted(folder.glob(f"{stem}_HRx{scale}.*")) or sorted(folder.glob(f"{stem}_HR.*"))
        found.append((low, high[0]))
    return found


def enlargement(
    data: Path, sets: list[str], tile: int, engine: Engine, enhanced: bool
) -> list[dict]:
    """One row per set and method."""
    off = {"repair": 0, "deblur": 0, "sharpen": "none"}
    methods = {
        "Lanczos (Pillow)": lambda p, s: np.asarray(
            Image.fromarray(p).resize((s.width, s.height), Image.Resampling.LANCZOS)
        ),
        "faithful": lambda p, s: run(p, s, engine, tile_px=tile, **off),
    }
    if enhanced:
        methods["enhanced"] = lambda p, s: run(p, s, engine, style="enhanced", **off)
    rows = []
    for name in sets:
        scores: dict[str, list[float]] = {method: [] for method in methods}
        for low, high in pairs(data / "sr_x4" / name, None):
            picture, truth = load(low), load(high)
            for method, apply in methods.items():
                result = apply(picture, Size(truth.shape[1], truth.shape[0]))
                scores[method].append(psnr_y(result, truth, 4))
        for method, values in scores.items():
            rows.append(
                {
                    "set": name,
                    "method": method,
                    "psnr_y": round(float(np.mean(values)), 3),
                    "pictures": len(values),
                }
            )
    return rows


def as_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """Through a JPEG with colour at half resolution."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def compressed(data: Path, engine: Engine) -> list[dict]:
    """Enlargement of Set14 after a JPEG: SPAN alone, after the repair, and what `auto` takes."""
    rows = []
    for scale in (2, 4):
        ways: dict[str, dict[str, object]] = {
            "span": {"model": f"span-x{scale}", "repair": 0},
            "repair, span": {"model": f"span-x{scale}", "repair": None},
            "auto": {"repair": None},
        }
        for quality in (60, 80):
            row: dict[str, object] = {"scale": scale, "quality": quality}
            for name, options in ways.items():
                scores = []
                for low, high in pairs(data / "sr_x4" / "Set14", None, scale):
                    picture = as_jpeg(load(low), quality)
                    size = Size(picture.shape[1] * scale, picture.shape[0] * scale)
                    truth = load(high)[: size.height, : size.width]
                    result = run(picture, size, engine, deblur=0, sharpen="none", **options)
                    scores.append(psnr_y(result, truth, scale))
                row[name] = round(float(np.mean(scores)), 3)
            rows.append(row)
    return rows


def repair(data: Path, engine: Engine) -> list[dict]:
    """JPEG removal at the same size: gain over the JPEG, for `auto` and fixed amounts."""
    clean = [load(p) for p in sorted((data / "jpeg").glob("*.png"))]
    rows = []
    for quality in (10, 20, 30, 40, 60, 80, None):
        row: dict[str, object] = {"quality": quality or "clean"}
        for amount in (None, 33, 66, 100):
            gains = []
            for truth in clean:
                picture = as_jpeg(truth, quality) if quality else truth
                size = Size(truth.shape[1], truth.shape[0])
                result = run(picture, size, engine, repair=amount, deblur=0, sharpen="none")
                if quality:
                    gains.append(psnr_y(result, truth, 0) - psnr_y(picture, truth, 0))
                else:
                    gains.append(float(np.abs(result.astype(int) - truth).mean()))
            row["auto" if amount is None else str(amount)] = round(float(np.mean(gains)), 3)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default="Set5,Set14,Urban100")
    parser.add_argument("--tile", type=int, default=128, help="source window, px")
    parser.add_argument("--enhanced", action="store_true", help="RealESRGAN too (slow on a CPU)")
    parser.add_argument("--no-repair", action="store_true")
    parser.add_argument("--no-compressed", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("bench-out/quality.json"))
    args = parser.parse_args()
    engine = Engine()
    start = time.perf_counter()
    results: dict[str, object] = {
        "device": engine.describe(),
        "torch": torch.__version__,
        "tile_px": args.tile,
        "enlargement": enlargement(
            args.data, args.sets.split(","), args.tile, engine, args.enhanced
        ),
    }
    print(f"{'set':10} {'method':18} {'PSNR-Y dB':>9}  pictures")
    for row in results["enlargement"]:  # type: ignore[attr-defined]
        print(f"{row['set']:10} {row['method']:18} {row['psnr_y']:9.2f}  {row['pictures']}")
    if not args.no_repair:
        results["repair"] = repair(args.data, engine)
        print("\nJPEG removal, gain in dB Y (clean: mean change in levels of 255)")
        print(f"{'quality':8} {'auto':>7} {'33':>7} {'66':>7} {'100':>7}")
        for row in results["repair"]:  # type: ignore[attr-defined]
            print(
                f"{row['quality']!s:8} "
                + " ".join(f"{row[amount]:7.2f}" for amount in ("auto", "33", "66", "100"))
            )
    if not args.no_compressed:
        results["compressed"] = compressed(args.data, engine)
        print("\nSet14 after a JPEG, PSNR-Y dB")
        for row in results["compressed"]:  # type: ignore[attr-defined]
            print("  ".join(f"{key} {value}" for key, value in row.items()))
    results["seconds"] = round(time.perf_counter() - start, 1)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{results['seconds']} s on {results['device']}; written to {args.json}")


if __name__ == "__main__":
    main()

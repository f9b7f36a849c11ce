"""Quality against known truth: deblurring, repair and enlargement, through the whole pipeline.

    python benchmarks/quality.py DATA [--tables deblurring,repair,enlargement]
        [--sets Set5,Set14,Urban100] [--enhanced] [--tile 128] [--page DIR] [--json FILE]

DATA is a folder with `deblur/` (NAME_blur.png, NAME_sharp.webp, NAME.json), `jpeg/` (clean crops)
and `sr_x4/` (pairs NNN_HR, NNN_LRx4). Prints the tables, writes them as JSON, and with `--page` one
HTML file with crops to look at.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import quality_blur
import quality_page
import torch
from PIL import Image
from quality_blur import BORDER_PX, Pair
from quality_page import TRUTH, Chapter, Exhibit, Spot
from quality_scores import Score, as_jpeg, load, psnr, psnr_y, score

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Placement, Rect, Size, Window
from wallprint_protocol.request import Request
from wallprint_server.models import catalog, store
from wallprint_server.models.catalog import NetworkSpec
from wallprint_server.models.engine import Engine
from wallprint_server.pipeline.enhance import enhance
from wallprint_server.pipeline.report import Report
from wallprint_server.raster import Raster

RGB8 = PixelLayout("RGB", "u8")
OFF = {"repair": 0, "deblur": 0, "sharpen": "none"}
QUALITIES = (10, 20, 30, 40, 60, 80)
SHOWN_QUALITY = 20
# Too near to their neighbours to be worth a crop.
UNSHOWN = ("wallprint, repair 33", "wallprint, repair 66")
# Nearly clean: a picture that equals the truth has no decibels to lose.
CLEAN_QUALITY = 95
FACE, TEXT, SKY = "a face", "text and fine lines", "a smooth gradient"
DEBLUR_SPOTS = (
    Spot("kodak04", 200, 90, FACE),
    Spot("kodak14", 320, 320, TEXT),
    Spot("kodak20", 250, 180, SKY),
    Spot("Flower", 560, 190, "the real picture"),
)
REPAIR_SPOTS = (
    Spot("caps", 0, 0, TEXT),
    Spot("plane", 0, 0, SKY),
    Spot("carnivaldolls", 0, 0, "a toy's face"),
)
ENLARGEMENT_SPOTS = (
    Spot("009", 200, 180, FACE),
    Spot("013", 0, 0, TEXT),
    Spot("002", 430, 380, "stripes of cloth"),
)


def run(picture: np.ndarray, out: Size, engine: Engine, **options: object) -> np.ndarray:
    """The whole pipeline on an (H, W, 3) uint8 array."""
    return enhanced(picture, out, engine, **options)[0]


def enhanced(
    picture: np.ndarray, out: Size, engine: Engine, **options: object
) -> tuple[np.ndarray, Report]:
    """`run`, and its report."""
    source = size_of(picture)
    placement = Placement(
        out, Window(0, 0, source.width, source.height), Rect(0, 0, out.width, out.height)
    )
    request = Request.build(source, RGB8, placement, **options)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as made:
        given.write(np.ascontiguousarray(picture).tobytes())
        given.flush()
        made.truncate(out.pixels * 3)
        result = Raster(made.fileno(), out, 3)
        report = enhance(
            request,
            Raster(given.fileno(), source, 3),
            None,
            result,
            engine=engine,
            on_progress=lambda *_: None,
            should_cancel=lambda: False,
        )
        data = result.read(Rect(0, 0, out.width, out.height))
    return np.frombuffer(data, np.uint8).reshape(out.height, out.width, 3), report


def size_of(picture: np.ndarray) -> Size:
    """Of an (H, W, 3) array."""
    return Size(picture.shape[1], picture.shape[0])


def available(role: str) -> list[NetworkSpec]:
    """Networks of a role that can be loaded without a connection, the user's included."""
    found = store.installed()
    return [spec for spec, state in found if spec.role == role and state != store.MISSING]


# Deblurring --------------------------------------------------------------------------------------

Deblur = Callable[[np.ndarray], np.ndarray]


def deblurring(data: Path, engine: Engine) -> Iterator[Chapter]:
    """Blurred pairs by every method, then what sharp pictures lose."""
    ways = ways_to_deblur(engine)
    pairs = quality_blur.pairs(data / "deblur")
    exhibits = {p.name: Exhibit(p.name, {"blurred": p.blurred}) for p in pairs}
    before = {p.name: score(p.blurred, p.sharp, BORDER_PX) for p in pairs}
    rows: list[dict[str, object]] = []

    def add(label: str, results: dict[str, np.ndarray], parameters: str | None = None) -> None:
        rows.append({"method": label, **gains(pairs, before, results), "parameters": parameters})
        print("  ".join(map(str, rows[-1].values())), flush=True)
        for name, picture in results.items():
            exhibits[name].versions[label] = picture

    rows.append({"method": "nothing", **gains(pairs, before, {p.name: p.blurred for p in pairs})})
    for label, apply in ways.items():
        add(label, {p.name: apply(p.blurred) for p in pairs})
    for label, method, told in rivals():
        given = [(p, kernel) for p in pairs if (kernel := told(p)) is not None]
        parameters = quality_blur.tuned(method, [(p, k) for p, k in given if p.tunes])
        results = {p.name: method(p.blurred, kernel, parameters) for p, kernel in given}
        add(label, results, ", ".join(f"{k} {v:g}" for k, v in parameters.items()))
    for pair in pairs:
        exhibits[pair.name].versions[TRUTH] = pair.sharp
    made = [pair.sharp for pair in pairs if pair.path is not None]
    yield Chapter(
        "Deblurring",
        f"{len(pairs) - len(made)} real and {len(made)} synthetic shakes, gains over doing "
        "nothing; moved: at the best whole shift. Wiener and Richardson-Lucy are told a kernel: "
        "the true one, a line of the true length, angle and place, or a line read from the "
        "picture. Parameters: the best on the odd-numbered pairs.",
        rows,
        list(exhibits.values()),
        next(iter(ways)),
        DEBLUR_SPOTS,
    )
    yield sharp_pictures(made, ways)


def ways_to_deblur(engine: Engine) -> dict[str, Deblur]:
    """Every way to deblur in full, and what `auto` does with the one that is the default."""

    def through(spec: NetworkSpec | None, amount: int | None) -> Deblur:
        def apply(picture: np.ndarray) -> np.ndarray:
            # The pipeline takes the network that was added last; here each has its turn.
            with mock.patch.object(catalog, "deblurrer", return_value=spec):
                return run(picture, size_of(picture), engine, **{**OFF, "deblur": amount})

        return apply

    found = {f"wallprint, {spec.name} 100": through(spec, 100) for spec in available("deblur")}
    default = catalog.deblurrer()
    if default is not None:
        found[f"wallprint, {default.name} auto"] = through(default, None)
    found["wallprint, movement of the camera 100"] = through(None, 100)
    found["wallprint, movement of the camera auto"] = through(None, None)
    return found


def rivals() -> list[tuple[str, quality_blur.Method, Callable[[Pair], np.ndarray | None]]]:
    """Label, method, and what it is told: the kernel of a pair."""
    nothing = np.ones((1, 1))
    found = [("unsharp mask", quality_blur.by_unsharp_mask, lambda _pair: nothing)]
    for name, method in (
        ("Wiener", quality_blur.by_wiener),
        ("Richardson-Lucy", quality_blur.by_richardson_lucy),
    ):
        found += [
            (f"{name}, kernel {kind}", method, kernel)
            for kind, kernel in quality_blur.KERNELS.items()
        ]
    return found


def gains(
    pairs: list[Pair], before: dict[str, Score], results: dict[str, np.ndarray]
) -> dict[str, object]:
    """Mean gain over `before`, real and synthetic pairs apart; None without results."""
    cells: dict[str, object] = {}
    for kind in ("real", "synthetic"):
        found = [
            score(results[pair.name], pair.sharp, BORDER_PX) - before[pair.name]
            for pair in pairs
            if pair.name in results and (pair.path is None) == (kind == "real")
        ]
        for field, heading in (
            ("psnr", "dB"),
            ("psnr_moved", "dB moved"),
            ("ssim", "SSIM"),
            ("ssim_moved", "SSIM moved"),
        ):
            cells[f"{kind} {heading}"] = _mean([getattr(gain, field) for gain in found])
        if kind == "synthetic":
            cells["worst dB"] = min((gain.psnr for gain in found), default=None)
    return cells


def sharp_pictures(pictures: list[np.ndarray], ways: dict[str, Deblur]) -> Chapter:
    """What deblurring takes from pictures that have no blur."""
    rows: list[dict[str, object]] = []
    for label, apply in ways.items():
        lost, changed = [], []
        for truth in pictures:
            given = as_jpeg(truth, CLEAN_QUALITY, half_chroma=False)
            result = apply(given)
            lost.append(psnr(given, truth, BORDER_PX) - psnr(result, truth, BORDER_PX))
            changed.append(_change(result, given))
        rows.append(
            {
                "method": label,
                "dB lost": _mean(lost),
                "worst dB lost": max(lost),
                "mean change, levels": _mean(changed),
            }
        )
    return Chapter(
        "Sharp pictures through the deblurring",
        f"The sharp pictures of the synthetic pairs, as JPEGs of quality {CLEAN_QUALITY} in full "
        "colour: one that equals the truth has no decibels to lose.",
        rows,
        [],
        "",
    )


# Repair ------------------------------------------------------------------------------------------


def repair(data: Path, engine: Engine) -> Iterator[Chapter]:
    """Removal of JPEG artefacts at the same size: each network in full, and the pipeline."""
    methods = {"nothing": lambda x: x}
    for amount in (None, 33, 66, 100):
        label = f"wallprint, repair {'auto' if amount is None else amount}"
        methods[label] = lambda x, amount=amount: run(
            x, size_of(x), engine, **{**OFF, "repair": amount}
        )
    for spec in available("repair"):
        methods[f"{spec.name} alone"] = lambda x, name=spec.name: alone(x, engine, name)
    clean = {p.stem: load(p) for p in sorted((data / "jpeg").glob("*.png"))}
    exhibits = {name: Exhibit(name, {}) for name in clean}
    rows: list[dict[str, object]] = []
    for label, apply in methods.items():
        row: dict[str, object] = {"method": label}
        for quality in QUALITIES:
            given = {name: as_jpeg(truth, quality) for name, truth in clean.items()}
            made = {name: apply(picture) for name, picture in given.items()}
            before = given if rows else None
            row[f"Q{quality}"] = _gain(psnr_y, clean, before, made)
            if quality == SHOWN_QUALITY:
                row[f"Q{quality} RGB"] = _gain(psnr, clean, before, made)
            if quality == SHOWN_QUALITY and label not in UNSHOWN:
                for name, picture in made.items():
                    exhibits[name].versions[label if rows else f"JPEG Q{quality}"] = picture
        row["clean: change, levels"] = _mean([_change(apply(x), x) for x in clean.values()])
        nearly = [(as_jpeg(x, CLEAN_QUALITY, half_chroma=False), x) for x in clean.values()]
        row[f"Q{CLEAN_QUALITY}: dB lost"] = _mean(
            [psnr_y(given, x) - psnr_y(apply(given), x) for given, x in nearly]
        )
        rows.append(row)
        print("  ".join(map(str, row.values())), flush=True)
    for name, truth in clean.items():
        exhibits[name].versions[TRUTH] = truth
    yield Chapter(
        "JPEG removal",
        "12 clean crops as JPEGs of Pillow with half colour resolution. Nothing: dB of Y, and "
        "of RGB, which sees blocks of colour too; all else: the gain over it. Clean pictures, and "
        f"JPEGs of quality {CLEAN_QUALITY} in full colour, should stay as they are. Crops: quality "
        f"{SHOWN_QUALITY}.",
        rows,
        list(exhibits.values()),
        "wallprint, repair auto",
        REPAIR_SPOTS,
    )


def _gain(
    rule: Callable[[np.ndarray, np.ndarray], float],
    truth: dict[str, np.ndarray],
    given: dict[str, np.ndarray] | None,
    made: dict[str, np.ndarray],
) -> float | None:
    """Mean of `rule` on what was made, beyond that on what was given."""
    found = [rule(made[name], sharp) for name, sharp in truth.items()]
    before = [rule(given[name], sharp) if given else 0.0 for name, sharp in truth.items()]
    return _mean([after - least for after, least in zip(found, before, strict=True)])


def alone(picture: np.ndarray, engine: Engine, name: str) -> np.ndarray:
    """A network of the picture's own size in full strength, without the rules of the pipeline."""
    x = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()
    with torch.inference_mode():
        y = engine.network(name)(x.to(engine.device))[0].permute(1, 2, 0)
    return (y.clamp(0, 1) * 255).round().byte().cpu().numpy()


# Enlargement -------------------------------------------------------------------------------------


def low_and_high(folder: Path, scale: int) -> list[tuple[Path, Path]]:
    """(low, high) resolution files of one set, in order."""
    found = []
    for low in sorted(folder.glob(f"*_LRx{scale}.png")):
        stem = low.name.split("_")[0]
        high = sorted(folder.glob(f"{stem}_HRx{scale}.*")) or sorted(folder.glob(f"{stem}_HR.*"))
        found.append((low, high[0]))
    return found


def enlargement(
    data: Path, sets: list[str], tile: int, engine: Engine, enhanced: bool
) -> Iterator[Chapter]:
    """The sets clean at x4; Set14 after a JPEG of the small picture at x2 and x4."""
    clean = [(name, 4, None) for name in sets]
    squeezed = [("Set14", scale, quality) for scale in (4, 2) for quality in (60, 80)]
    rows: list[dict[str, object]] = []
    shown: dict[tuple[str, int, int | None], list[Exhibit]] = {
        ("Set14", 4, None): [],
        ("Set14", 4, 60): [],
    }
    for case in (*clean, *squeezed):
        name, scale, quality = case
        scores: dict[str, list[float]] = {}
        for low, high in low_and_high(data / "sr_x4" / name, scale):
            picture = as_jpeg(load(low), quality) if quality else load(low)
            size = Size(picture.shape[1] * scale, picture.shape[0] * scale)
            truth = load(high)[: size.height, : size.width]
            made = {}
            for label, apply in enlargers(scale, tile, engine, enhanced, quality).items():
                made[label] = apply(picture, size)
                scores.setdefault(label, []).append(psnr_y(made[label], truth, scale))
            if case in shown:
                shown[case].append(Exhibit(low.name.split("_")[0], {**made, TRUTH: truth}))
        means = {label: _mean(values) for label, values in scores.items()}
        quality_text = str(quality) if quality else "none"
        rows.append({"set": name, "scale": f"x{scale}", "JPEG": quality_text, **means})
        print("  ".join(map(str, rows[-1].values())), flush=True)
    yield Chapter(
        "Enlargement",
        "PSNR of Y in dB without as many border px as the scale. JPEG: the small picture's quality "
        f"(Pillow, half colour resolution). Windows of {tile} px. Crops: Set14 x4, clean.",
        rows,
        shown["Set14", 4, None],
        "wallprint, auto",
        ENLARGEMENT_SPOTS,
    )
    yield Chapter(
        "Enlargement of a JPEG",
        "The same with a JPEG of quality 60 before: blocks must not grow with the picture.",
        [row for row in rows if row["JPEG"] == "60"],
        shown["Set14", 4, 60],
        "wallprint, auto",
        ENLARGEMENT_SPOTS,
    )


Enlarge = Callable[[np.ndarray, Size], np.ndarray]


def enlargers(
    scale: int, tile: int, engine: Engine, enhanced: bool, quality: int | None
) -> dict[str, Enlarge]:
    """Label -> (picture, size) -> picture; the plainest first."""

    def piped(**options: object) -> Enlarge:
        return lambda x, size: run(x, size, engine, **{**OFF, "tile_px": tile, **options})

    found: dict[str, Enlarge] = {
        "Lanczos": lambda x, size: np.asarray(
            Image.fromarray(x).resize((size.width, size.height), Image.Resampling.LANCZOS)
        ),
        "SPAN": piped(model=f"span-x{scale}"),
        "SPAN robust": piped(model=f"span-robust-x{scale}"),
        "wallprint, auto": piped(repair=None, deblur=None),
    }
    if quality:
        found["repair, SPAN"] = piped(model=f"span-x{scale}", repair=None)
    if enhanced and scale == 4 and quality in (None, 60):  # what the crops show; it is slow
        found["RealESRGAN"] = piped(style="enhanced", tile_px=0)
    return found


def _change(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in levels of 255."""
    return float(np.abs(a.astype(int) - b).mean())


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--tables", default="deblurring,repair,enlargement")
    parser.add_argument("--sets", default="Set5,Set14,Urban100", help="for the clean enlargement")
    parser.add_argument("--tile", type=int, default=128, help="source window of enlargement, px")
    parser.add_argument("--enhanced", action="store_true", help="RealESRGAN too (slow on a CPU)")
    parser.add_argument("--page", type=Path, metavar="DIR", help="write DIR/quality.html")
    parser.add_argument("--json", type=Path, default=Path("bench-out/quality.json"))
    args = parser.parse_args()
    engine = Engine()
    start = time.perf_counter()
    tables: dict[str, Callable[[], Iterator[Chapter]]] = {
        "deblurring": lambda: deblurring(args.data, engine),
        "repair": lambda: repair(args.data, engine),
        "enlargement": lambda: enlargement(
            args.data, args.sets.split(","), args.tile, engine, args.enhanced
        ),
    }
    wanted = args.tables.split(",")
    if unknown := set(wanted) - tables.keys():
        parser.error(f"no table {', '.join(sorted(unknown))}; there are {', '.join(tables)}")
    chapters = [chapter for name in wanted for chapter in tables[name]()]
    for chapter in chapters:
        print(f"\n{chapter.title}. {chapter.intro}\n\n{quality_page.as_text(chapter)}")
    seconds = round(time.perf_counter() - start, 1)
    results = {
        "device": engine.describe(),
        "torch": torch.__version__,
        "seconds": seconds,
        **{chapter.title: chapter.rows for chapter in chapters},
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{seconds} s on {engine.describe()}; written to {args.json}")
    if args.page:
        about = f"Evaluation pictures; {engine.describe()}, PyTorch {torch.__version__}."
        page = quality_page.write(args.page, "wallprint against known truth", about, chapters)
        print(f"Page: {page}")


if __name__ == "__main__":
    main()

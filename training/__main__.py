"""One command for each network; `python -m training NETWORK --help` tells the rest.

    python -m training repair      --tiles PACK --out RUN --budget 60
    python -m training span-robust --tiles PACK --out RUN --budget 30 --scale 4
    python -m training mssnet      --tiles PACK --out RUN --budget 25
    python -m training dering      --tiles PACK --out RUN --budget 30
    python -m training measure     --tiles PACK --out RUN --eval EVAL

The last measures what a run has left, on another machine than the one that trained.

The same command again goes on where the last one stopped. Ends with 0 when the network is finished
and good enough (or there was nothing to measure it with), 1 when it is finished and not good
enough, 75 when the slice is over and the command is to be given again.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wallprint_server.models.networks import mssnet_tensors
from wallprint_server.models.networks.deringer import WIDTHS
from wallprint_server.models.networks.mssnet import VARIANTS, MSSNet

from . import result
from .data import Tiles
from .dering import DeringRecipe
from .gates import Gate
from .loop import Options, Run
from .mssnet import LIGHT, MssnetRecipe
from .repair import RepairRecipe
from .span import SpanRecipe

FINISHED, NOT_GOOD_ENOUGH, GIVE_AGAIN = 0, 1, 75
# A deblurring network that a CPU can train in hours instead of weeks.
SIZES = {**VARIANTS, "light": LIGHT, "narrow": (12, 8, 8)}

AnyRecipe = RepairRecipe | SpanRecipe | MssnetRecipe | DeringRecipe


@dataclass(frozen=True)
class Kind:
    """A recipe with what is said about it."""

    recipe: AnyRecipe
    architecture: str
    about: str
    licence: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; see the module's text for the result."""
    options = _parser().parse_args(arguments)
    if options.network == "measure":
        return _measure_again(options)
    device = _device(options.device)
    torch.backends.cudnn.benchmark = True  # all pieces have the same few sizes
    if options.threads:
        torch.set_num_threads(options.threads)
    half = options.precision == "bfloat16" or (options.precision == "auto" and _is_gpu(device))
    tiles = Tiles(options.tiles, device, options.limit)
    kind = _kind(options, tiles, device)
    start = None if options.start is None else unpacked(result.read_weights([options.start]))
    if options.keep and start is None and not isinstance(kind.recipe, SpanRecipe):
        raise SystemExit("--keep needs --start: of new weights there is nothing to keep.")
    run = Run(
        kind.recipe,
        options.out,
        Options(
            steps=options.steps,
            budget_s=options.budget * 60,
            slice_s=options.slice * 60,
            seed=options.seed,
            device=device,
            half=half,
            recorded=not options.plain,
        ),
        start,
    )
    if options.profile:
        print(run.profile())
        return FINISHED
    if not run.go():
        print(f"The slice is over after step {run.step}; give the same command again.")
        return GIVE_AGAIN
    given = sys.argv[1:] if arguments is None else list(arguments)
    facts = result.Facts(
        name=kind.recipe.name,
        architecture=kind.architecture,
        about=kind.about,
        command=shlex.join(["python", "-m", "training", *given]),
        steps=run.step,
        seconds=run.seconds,
        device=result.hardware(device),
        precision="bfloat16 inside the network" if half else "float32",
        seed=options.seed,
        licence=kind.licence,
        tiles=len(tiles.pixels),
        torch=torch.__version__,
    )
    net = run.averaged()
    if options.keep:
        # SPAN began with the published weights, whatever it was tuned from later.
        first = kind.recipe.build().state_dict() if isinstance(kind.recipe, SpanRecipe) else start
        assert first is not None
        keep_some(net, first, options.keep)
    return finish(net, kind.recipe, facts, options)


def finish(net: nn.Module, recipe: AnyRecipe, facts: result.Facts, options: Any) -> int:
    """Write the weights, measure what was written, write the card."""
    tensors = net.state_dict()
    packed = mssnet_tensors.packed(tensors) if isinstance(net, MSSNet) else tensors
    result.write_weights(options.out, facts, packed)
    return measure(recipe, facts, options)


def keep_some(net: nn.Module, first: Mapping[str, Tensor], share: float) -> None:
    """Move trained weights a part of the way back to those they began with, in place.

    Between the two lie networks that are better at what the first were good at and hardly worse at
    the rest (Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv 2109.01903).
    """
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            tensor.lerp_(first[key].to(tensor.device), share)


def unpacked(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a file as the network has them."""
    return mssnet_tensors.unpacked(stored) if mssnet_tensors.PRELU in stored else stored


def measure(recipe: AnyRecipe, facts: result.Facts, options: Any) -> int:
    """Measure the weights in a run's folder and write the card."""
    files = result.weights_of(options.out, facts)
    stored = result.read_weights(files)
    kept: nn.Module = recipe.build().cpu().eval().requires_grad_(False)
    kept.load_state_dict(unpacked(stored))
    gates: list[Gate] = []
    if options.eval is not None:
        with torch.inference_mode():
            gates = recipe.gates(kept, options.eval)
    card = result.write_card(options.out, facts, options.tiles, gates)
    for gate in gates:
        print(gate.text())
    print(f"{', '.join(str(file) for file in files)}; {card}")
    return FINISHED if all(gate.passed for gate in gates) else NOT_GOOD_ENOUGH


def _measure_again(options: Any) -> int:
    """Measure what a run has left, here."""
    facts = result.read_facts(options.out)
    command = _parser().parse_args(shlex.split(facts.command)[3:])
    tiles = Tiles(options.tiles, torch.device("cpu"), 16)
    gpu = "CPU" not in facts.device
    recipe = _kind(command, tiles, torch.device("cuda" if gpu else "cpu")).recipe
    return measure(recipe, facts, options)


def _kind(options: Any, tiles: Tiles, device: torch.device) -> Kind:
    """The recipe of a command."""
    recipe: AnyRecipe
    licence = "GPL-3.0-or-later"
    if options.network == "repair":
        recipe = RepairRecipe(tiles)
        if _is_gpu(device):
            recipe = replace(recipe, batch=64, side=128)
        shape = f"residual network at half resolution, width {recipe.width}, {recipe.blocks} blocks"
        about = "Removes JPEG blocks, ringing and noise, with a strength from 0 to 1."
    elif options.network == "span-robust":
        recipe = SpanRecipe(tiles, scale=options.scale)
        shape = f"SPAN x{options.scale}, width 48 (arXiv 2311.12770), from the published weights"
        about = "Enlarges pictures that were compressed or noisy without magnifying that."
        licence = "Apache-2.0"  # as the weights that it begins with
    elif options.network == "dering":
        recipe = DeringRecipe(tiles)
        if _is_gpu(device):
            recipe = replace(recipe, batch=32, pieces=6000)
        recipe = replace(recipe, pieces=options.pieces or recipe.pieces)
        shape = f"U-Net from half resolution on, widths {', '.join(map(str, WIDTHS))}"
        about = "Removes rings and doubled edges that a deconvolution leaves."
    else:
        sizes = options.sizes or SIZES[options.variant]
        recipe = MssnetRecipe(tiles, sizes=sizes, on_gpu=_is_gpu(device))
        if not _is_gpu(device):
            recipe = replace(recipe, batch=4, batch_b=2, side=96, side_b=128, rate=1e-3)
        shape = f"MSSNet (arXiv 2202.09652), width, scale, vscale = {recipe.sizes}"
        about = "Removes blur from a moving camera or a lens out of focus."
    values = {"batch": options.batch, "side": options.side, "rate": options.rate}
    changes = {name: value for name, value in values.items() if value}
    return Kind(replace(recipe, **changes), shape, about, licence)


def _sizes(text: str) -> tuple[int, int, int]:
    width, scale, vscale = (int(part) for part in text.split(","))
    return width, scale, vscale


def _is_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__.split("\n")[0])
    networks = parser.add_subparsers(dest="network", required=True)
    again = networks.add_parser("measure")
    again.add_argument("--tiles", type=Path, required=True, help="folder of the tile pack")
    again.add_argument("--out", type=Path, required=True, help="folder of the run")
    again.add_argument("--eval", type=Path, required=True, help="folder of the evaluation pictures")
    for name in ("repair", "span-robust", "mssnet", "dering"):
        one = networks.add_parser(name)
        one.add_argument("--tiles", type=Path, required=True, help="folder of the tile pack")
        one.add_argument("--out", type=Path, required=True, help="folder of the run")
        one.add_argument("--eval", type=Path, help="folder of the evaluation pictures, for gates")
        one.add_argument("--budget", type=float, default=30.0, help="minutes, over all slices")
        one.add_argument("--steps", type=int, default=0, help="so many steps instead of a time")
        one.add_argument("--slice", type=float, default=0.0, help="stop after so many minutes")
        one.add_argument("--seed", type=int, default=1)
        one.add_argument("--start", type=Path, help="weights of an earlier run to begin with")
        one.add_argument("--rate", type=float, default=0.0, help="highest learning rate")
        one.add_argument(
            "--keep", type=float, default=0.0, help="share of the weights it began with, 0..1"
        )
        one.add_argument("--profile", action="store_true", help="tell where a step's time goes")
        one.add_argument("--device", default="auto", help="auto, cpu or cuda")
        one.add_argument("--threads", type=int, default=0, help="of the CPU")
        one.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
        one.add_argument("--plain", action="store_true", help="on a GPU, do not record the work")
        one.add_argument("--batch", type=int, default=0)
        one.add_argument("--side", type=int, default=0, help="of the pieces, px")
        one.add_argument("--limit", type=int, help="use only so many tiles")
        if name == "span-robust":
            one.add_argument("--scale", type=int, choices=(2, 4), default=4)
        if name == "dering":
            one.add_argument("--pieces", type=int, default=0, help="to deconvolve beforehand")
        if name == "mssnet":
            one.add_argument("--variant", choices=tuple(SIZES), default="light")
            one.add_argument("--sizes", type=_sizes, help="width,scale,vscale instead")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""What a finished run leaves: the weights, a card that tells where they come from, the credits.

    OUT/NAME.safetensors        float16, at most 16 MiB; NAME-1-of-2... where that is not enough
    OUT/NAME.md                 the card
    OUT/facts.json              what the card says of the training
    OUT/ATTRIBUTION.tsv        source, author and licence of every picture trained on

Knows nothing of how a network is trained.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from . import checkpoint
from .data import licences
from .gates import Gate

FACTS = "facts.json"


@dataclass(frozen=True)
class Facts:
    """About a run.

    Attributes:
        name: of the network and its files.
        architecture: in a few words, with its sizes.
        about: what it does, in one sentence.
        command: that was given.
        steps: done.
        seconds: spent.
        device: hardware in words.
        precision: inside the network.
        seed: of everything drawn.
        licence: of the weights (SPDX).
        tiles: number of pictures trained on.
        torch: version.
    """

    name: str
    architecture: str
    about: str
    command: str
    steps: int
    seconds: float
    device: str
    precision: str
    seed: int
    licence: str
    tiles: int
    torch: str


def hardware(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    threads = torch.get_num_threads()
    return f"{model}, {threads} thread{'s' if threads > 1 else ''} of the CPU"


def write_weights(folder: Path, facts: Facts, tensors: Mapping[str, Tensor]) -> list[Path]:
    """The weights as float16, in as many files as needed.

    Raises:
        SystemExit: numbers that float16 does not hold.
    """
    halves = {key: tensor.detach().half().cpu() for key, tensor in tensors.items()}
    for key, tensor in halves.items():
        if not bool(torch.isfinite(tensor).all()):
            raise SystemExit(f"The weights {key} do not fit into float16; nothing was written.")
    parts = checkpoint.split(halves)
    about = {"name": facts.name, "architecture": facts.architecture, "licence": facts.licence}
    about["steps"] = str(facts.steps)
    files = []
    for i, part in enumerate(parts, start=1):
        stem = facts.name if len(parts) == 1 else f"{facts.name}-{i}-of-{len(parts)}"
        files.append(folder / f"{stem}.safetensors")
        metadata = {"wallprint": json.dumps(about, sort_keys=True)}
        files[-1].write_bytes(safetensors.torch.save(part, metadata=metadata))
    (folder / FACTS).write_text(json.dumps(asdict(facts), indent=1))
    return files


def read_facts(folder: Path) -> Facts:
    """What `write_weights` was told."""
    return Facts(**json.loads((folder / FACTS).read_text()))


def weights_of(folder: Path, facts: Facts) -> list[Path]:
    """The files that `write_weights` wrote."""
    single = folder / f"{facts.name}.safetensors"
    return [single] if single.is_file() else sorted(folder.glob(f"{facts.name}-*-of-*.safetensors"))


def read_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """The same back, float32."""
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= {key: t.float() for key, t in safetensors.torch.load_file(file).items()}
    return tensors


def write_card(folder: Path, facts: Facts, pack: Path, gates: Sequence[Gate]) -> Path:
    """The card, and the credits beside it."""
    counts = licences(pack)
    lines = [
        f"# {facts.name}",
        "",
        facts.about,
        "",
        f"- Architecture: {facts.architecture}.",
        f"- Weights: {facts.licence}, trained by the wallprint project, float16.",
        f"- Training: {facts.steps} steps in {facts.seconds:.0f} s on {facts.device}, "
        f"{facts.precision}, seed {facts.seed}, torch {facts.torch}.",
        f"- Command: `{facts.command}`",
        f"- Pictures: {facts.tiles} tiles of 512 x 512 px cut from photographs; each with "
        "source, author, licence and changes in `ATTRIBUTION.tsv`.",
        "",
        "| licence of the pictures | tiles |",
        "|---|---|",
        *(f"| {licence} | {count} |" for licence, count in counts.items()),
        "",
    ]
    if gates:
        lines += [
            "| measured on pictures never trained on | found | asked for | |",
            "|---|---|---|---|",
        ]
        for gate in gates:
            sign = "at most" if gate.most else "at least"
            verdict = "passed" if gate.passed else "failed"
            lines.append(
                f"| {gate.name} | {gate.value:.3f} | {sign} {gate.bound:.4g} | {verdict} |"
            )
        lines.append("")
    else:
        lines += ["Not measured: no evaluation pictures were given.", ""]
    card = folder / f"{facts.name}.md"
    card.write_text("\n".join(lines))
    if (pack / "ATTRIBUTION.tsv").is_file():
        shutil.copyfile(pack / "ATTRIBUTION.tsv", folder / "ATTRIBUTION.tsv")
    return card

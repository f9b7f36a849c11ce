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
from .networks import residual as residual_net
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
    """A graph under construction; blobs are named by their number.

    Attributes:
        nodes: the layers, in order.
        inputs: names of the blobs that are given.
        outputs: blob -> name under which it is asked for; the last layer's if none is named.
    """

    def __init__(self, *inputs: str) -> None:
        self.nodes: list[_Node] = []
        self.inputs = inputs or (INPUT,)
        self.outputs: dict[str, str] = {}

    def add(
        self, kind: str, inputs: Sequence[str], parameters: str = "", weights: bytes = b""
    ) -> str:
        """Append a layer; returns the name of its result."""
        output = f"b{len(self.nodes)}"
        self.nodes.append(_Node(kind, tuple(inputs), output, parameters, weights))
        return output

    def conv(self, x: str, tensors: Tensors, key: str, *, pad: int, slope: float = 0.0) -> str:
        """Convolution, with bias where there is one, and a leaky ReLU when it has a slope."""
        weight, bias = tensors[f"{key}.weight"], tensors.get(f"{key}.bias")
        n_out, _, side, _ = weight.shape
        text = f"0={n_out} 1={side} 4={pad} 5={int(bias is not None)} 6={weight.numel()}"
        if slope:
            text += f" 9=2 -23310=1,{slope:e}"
        raw = b"" if bias is None else _raw(bias)
        return self.add("Convolution", [x], text, _flagged(weight) + raw)

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
        """The `.param` text and the `.bin` bytes.

        ncnn lets a blob be read once: where it is read more often, a Split goes behind it.
        """
        readers = Counter(name for node in self.nodes for name in node.inputs)
        copies: dict[str, list[str]] = {}
        lines: list[str] = []
        blobs = 0
        named = self.outputs or {self.nodes[-1].output: OUTPUT}
        for node in [*(_Node("Input", (), name, "", b"") for name in self.inputs), *self.nodes]:
            inputs = [copies[name].pop() for name in node.inputs]
            output = named.get(node.output, node.output)
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
    graph = Graph(*(MSSNET_INPUTS if spec.architecture == "mssnet" else ()))
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


def _waifu2x(g: Graph, t: Tensors, _scale: int) -> str:
    border = waifu2x_net.BORDER_PX
    x = g.add("Padding", [INPUT], f"0={border} 1={border} 2={border} 3={border} 4=1")
    for k in range(1, len(waifu2x_net.WIDTHS)):
        x = g.conv(x, t, f"conv{k}_layer", pad=0, slope=waifu2x_net.SLOPE)
    x = g.add("Clip", [g.deconv(x, t, "conv7_layer", stride=2, pad=3)], "0=0.0 1=1.0")
    return g.add("Pooling", [x], "0=1 1=2 2=2")


def _cleaner(g: Graph, t: Tensors, _scale: int) -> None:
    """Of tensors for one strength (`cleaner.at_strength`): it is in the biases."""
    h = head = g.conv(g.add("Reorg", [INPUT], "0=2"), t, "head", pad=1)
    for b in range(sum(key.endswith("conv1.weight") for key in t)):
        inner = g.conv(h, t, f"body.{b}.conv1", pad=1, slope=residual_net.SLOPE)
        h = g.binary(ADD, h, g.conv(inner, t, f"body.{b}.conv2", pad=1))
    change = g.conv(g.binary(ADD, h, head), t, "tail", pad=1)
    g.binary(ADD, INPUT, g.add("PixelShuffle", [change], "0=2"))


def _mssnet(g: Graph, t: Tensors, _scale: int) -> None:
    """The network without the shuffles at its ends: they and the last additions are exact in torch.

    Inputs: the half-size picture and the picture, both unshuffled by 2, and the picture. Outputs,
    by the names of the heads: what is added to the picture, shuffled where it is of half size.
    """
    slope = float(t["shallow_feat1.1.body.1.weight"].reshape(()))

    def block(x: str, key: str) -> str:
        inner = g.conv(x, t, f"{key}.body.0", pad=1, slope=slope)
        return g.binary(ADD, x, g.conv(inner, t, f"{key}.body.2", pad=1))

    def two(x: str, key: str) -> str:
        return block(block(x, f"{key}.0"), f"{key}.1")

    def one(x: str, key: str) -> str:
        return g.conv(x, t, key, pad=0)

    def doubled(x: str) -> str:
        return g.add("Interp", [x], "0=2 1=2.0 2=2.0")

    def encoder(
        x: str, key: str, before: tuple[list[str], list[str]] | None, enlarge: bool
    ) -> list[str]:
        levels: list[str] = []
        for level in (1, 2, 3):
            if level > 1:
                half = g.add("Pooling", [x], "0=1 1=2 2=2")
                x = one(half, f"{key}.down{level - 1}{level}.down.1")
            x = two(x, f"{key}.encoder_level{level}")
            if before is not None:
                e, d = before[0][level - 1], before[1][level - 1]
                cross = g.binary(
                    ADD, one(e, f"{key}.csff_enc{level}"), one(d, f"{key}.csff_dec{level}")
                )
                x = g.binary(ADD, x, doubled(cross) if enlarge else cross)
            levels.append(x)
        return levels

    def decoder(levels: list[str], key: str) -> list[str]:
        e1, e2, e3 = levels
        d3 = two(e3, f"{key}.decoder_level3")
        up = doubled(one(d3, f"{key}.up32.up.1"))
        d2 = two(g.binary(ADD, up, block(e2, f"{key}.skip_attn2")), f"{key}.decoder_level2")
        up = doubled(one(d2, f"{key}.up21.up.1"))
        d1 = two(g.binary(ADD, up, block(e1, f"{key}.skip_attn1")), f"{key}.decoder_level1")
        return [d1, d2, d3]

    before: tuple[list[str], list[str]] | None = None
    features = ""
    for i, name in enumerate(g.inputs, start=1):
        shallow = block(g.conv(name, t, f"shallow_feat{i}.0", pad=1), f"shallow_feat{i}.1")
        if before is not None:
            coarse = doubled(one(features, f"up_scale{i - 1}_feat.scaleUp.1"))
            joined = g.add("Concat", [shallow, coarse])
            shallow = g.conv(joined, t, f"fusion{i - 1}{i}", pad=1)
        features = shallow
        for j in range(1, i + 1):
            levels = encoder(features, f"E{i}_{j}", before, j == 1)
            before = (levels, decoder(levels, f"D{i}_{j}"))
            features = before[1][0]
            tail = f"tail{i}_{j}.tail" if i < 3 else f"tail{i}_{j}"
            g.outputs[g.conv(features, t, tail, pad=1)] = f"res{i}_{j}"


MSSNET_INPUTS = ("quarter", "half", "full")

WRITERS: dict[str, Callable[[Graph, Tensors, int], object]] = {
    "span": _span,
    "rrdb": _rrdb,
    "waifu2x": _waifu2x,
    "cleaner": _cleaner,
    "mssnet": _mssnet,
}


def _line(kind: str, name: str, inputs: Sequence[str], outputs: Sequence[str], text: str) -> str:
    return " ".join(
        [kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, text]
    ).rstrip()


def _raw(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype="<f4").tobytes()


def _flagged(tensor: Tensor) -> bytes:
    return bytes(4) + _raw(tensor)  # flag 0: float32

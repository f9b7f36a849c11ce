"""From the layers of an ncnn file to the tensor names of our own networks. No torch.

One function for each architecture; knows nothing of where the files come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .ncnn_format import Array, Layer, NcnnFormatError


def _pair(key: str, layer: Layer) -> dict[str, Array]:
    if layer.bias is None:
        raise NcnnFormatError(f"layer {layer.name!r} has no bias")
    # Deconvolutions are stored (out, in, kh, kw); torch wants (in, out, kh, kw). No flip.
    weight = layer.weight.transpose(1, 0, 2, 3) if layer.kind == "Deconvolution" else layer.weight
    return {f"{key}.weight": weight, f"{key}.bias": layer.bias}


def span(layers: Iterable[Layer]) -> dict[str, Array]:
    """SPAN: the layer names hold the keys, `/block_1/c1_r/eval_conv/Conv` -> `block_1.c1_r`."""
    tensors: dict[str, Array] = {}
    for layer in layers:
        if layer.kind == "MemoryData":
            tensors["mean"] = layer.weight
            continue
        parts = [p for p in layer.name.split("/") if p not in ("", "eval_conv", "Conv")]
        key = "upsampler.0" if parts[0] == "upsampler" else ".".join(parts)
        tensors |= _pair(key, layer)
    return tensors


def rrdb(layers: Iterable[Layer], blocks: int = 23) -> dict[str, Array]:
    """RRDBNet: the names are export numbers, the order is the network's."""
    keys = ["conv_first"]
    keys += [
        f"body.{b}.rdb{r}.conv{c}" for b in range(blocks) for r in (1, 2, 3) for c in range(1, 6)
    ]
    keys += ["conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    found = list(layers)
    if len(found) != len(keys):
        raise NcnnFormatError(f"{len(found)} convolutions where RRDBNet has {len(keys)}")
    tensors: dict[str, Array] = {}
    for key, layer in zip(keys, found, strict=True):
        tensors |= _pair(key, layer)
    return tensors


def waifu2x(layers: Iterable[Layer]) -> dict[str, Array]:
    """upconv_7: the names are the keys."""
    tensors: dict[str, Array] = {}
    for layer in layers:
        tensors |= _pair(layer.name, layer)
    return tensors


FROM_NCNN: dict[str, Callable[[Iterable[Layer]], dict[str, Array]]] = {
    "span": span,
    "rrdb": rrdb,
    "waifu2x": waifu2x,
}

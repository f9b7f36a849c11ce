"""The ncnn reader: right on every storage form, and strict about anything else."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallprint_server.models import catalog, convert, ncnn_format, ncnn_graph, networks
from wallprint_server.models.ncnn_format import NcnnFormatError
from wallprint_testing.networks import by_formula

WEIGHTS = np.arange(1, 28, dtype=np.float32) / 8  # 3 x 1 x 3 x 3: an odd number
BIAS = np.array([0.5, -1.5, 3.0], dtype=np.float32)


def param(*layers: str, count: int | None = None) -> str:
    return "\n".join(["7767517", f"{len(layers) if count is None else count} 9", *layers]) + "\n"


INPUT = "Input data 0 1 data"
CONV = "Convolution c1 1 1 data b1 0=3 1=3 4=1 5=1 6=27 9=2 -23310=1,1.000000e-01"


def blob(flag: int = 0x01306B47) -> bytes:
    if flag == 0x01306B47:
        return struct.pack("<I", flag) + WEIGHTS.astype("<f2").tobytes() + b"\0\0" + BIAS.tobytes()
    return struct.pack("<I", flag) + WEIGHTS.tobytes() + BIAS.tobytes()


@pytest.mark.parametrize("flag", [0x01306B47, 0, 0x0002C056])
def test_weights_in_every_storage_form(flag: int) -> None:
    (layer,) = ncnn_format.read(param(INPUT, CONV), blob(flag))
    assert (layer.kind, layer.name) == ("Convolution", "c1")
    np.testing.assert_array_equal(layer.weight, WEIGHTS.reshape(3, 1, 3, 3))
    np.testing.assert_array_equal(layer.bias, BIAS)


def test_constants_and_convolutions_of_two_sides() -> None:
    text = param("MemoryData m 0 1 m 0=1 1=1 2=3", "Convolution c 1 1 m b 0=2 1=1 11=3 6=12")
    numbers = np.arange(12, dtype=np.float32)
    content = BIAS.tobytes() + bytes(4) + numbers.tobytes()
    constant, conv = ncnn_format.read(text, content)
    np.testing.assert_array_equal(constant.weight, BIAS.reshape(3, 1, 1))
    np.testing.assert_array_equal(conv.weight, numbers.reshape(2, 2, 3, 1))
    assert conv.bias is None


@pytest.mark.parametrize(
    ("text", "content", "says"),
    [
        ("hello", blob(), "not an ncnn"),
        (param(INPUT, CONV, count=3), blob(), "announced"),
        (param(INPUT, CONV), blob() + b"\0", "left over"),
        (param(INPUT, CONV), blob()[:-1], "ends before"),
        (param(INPUT, CONV), blob(0x000D4B38), "unknown way 0x000d4b38"),
        (param(INPUT, CONV.replace("Convolution", "LSTM")), blob(), "not known"),
        (param(INPUT, CONV.replace("6=27", "6=28")), blob(), "do not divide"),
        (param(INPUT, CONV.replace("6=27", "6=-27")), blob(), "do not divide"),
        (param(INPUT, CONV.replace("0=3", "0=0")), blob(), "do not divide"),
        (param(INPUT, "Convolution c1"), blob(), "Convolution c1"),
        (param(INPUT, CONV.replace("0=3", "0=x")), blob(), "Convolution c1"),
        (param(INPUT, CONV.replace("6=27", "6=2700000000000")), blob(), "ends before"),
    ],
)
def test_anything_else_is_refused(text: str, content: bytes, says: str) -> None:
    with pytest.raises(NcnnFormatError, match=says):
        ncnn_format.read(text, content)


@given(st.integers(0, len(blob()) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(NcnnFormatError):
        ncnn_format.read(param(INPUT, CONV), blob()[:length])


def test_transposed_convolutions_change_their_first_axes() -> None:
    text = param(INPUT, "Deconvolution conv7_layer 1 1 data b 0=2 1=2 3=2 4=0 5=1 6=24")
    stored = np.arange(24, dtype=np.float32)  # (out 2, in 3, 2, 2)
    content = bytes(4) + stored.tobytes() + np.zeros(2, np.float32).tobytes()
    tensors = convert.waifu2x(ncnn_format.read(text, content))
    weight = tensors["conv7_layer.weight"]
    assert weight.shape == (3, 2, 2, 2)
    assert weight[2, 1, 0, 1] == stored.reshape(2, 3, 2, 2)[1, 2, 0, 1]


def test_rrdb_with_a_convolution_too_few_is_refused() -> None:
    with pytest.raises(NcnnFormatError, match="351"):
        convert.rrdb(ncnn_format.read(param(INPUT, CONV), blob()))


@pytest.mark.parametrize("name", ["span-x2", "waifu2x-photo-denoise0"])
def test_our_own_graphs_read_back_to_the_same_tensors(name: str) -> None:
    """Writer and reader agree about order, shapes and flags."""
    spec = catalog.get(name)
    tensors = by_formula(networks.build(spec)).state_dict()
    layers = ncnn_format.read(*ncnn_graph.write(spec, tensors))
    found = [layer for layer in layers if layer.kind != "MemoryData"]
    keys = [key.removesuffix(".weight") for key in tensors if key.endswith(".weight")]
    if spec.architecture == "span":  # the 1x1 convolution over four joined blobs is in four parts
        parts = [layer for layer in found if layer.weight.shape[-1] == 1]
        found = [layer for layer in found if layer not in parts]
        keys.remove("conv_cat")
        first, third, second, fourth = (layer.weight for layer in parts)  # as they are computed
        joined = np.concatenate([first, second, third, fourth], 1)
        np.testing.assert_array_equal(joined, tensors["conv_cat.weight"].numpy())
        biases = [layer.bias for layer in parts]
        np.testing.assert_array_equal(biases[0], tensors["conv_cat.bias"].numpy())
        assert not np.any(biases[1:])
    assert len(found) == len(keys)
    for key, layer in zip(keys, found, strict=True):
        weight = tensors[f"{key}.weight"].numpy()
        if layer.kind == "Deconvolution":
            weight = weight.transpose(1, 0, 2, 3)
        np.testing.assert_array_equal(layer.weight, weight)
        np.testing.assert_array_equal(layer.bias, tensors[f"{key}.bias"].numpy())

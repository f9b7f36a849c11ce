"""Published MSSNet checkpoints: read without running them, refused in one sentence if they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from wallprint_protocol.errors import BadInput
from wallprint_server.models.networks import mssnet, mssnet_tensors
from wallprint_server.models.networks.mssnet import MSSNet


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return MSSNet.small().state_dict()


def checkpoint(folder: Path, state: Any, **more: Any) -> Path:
    """A file as the training writes it."""
    path = folder / "model_03000E.pt"
    torch.save({"model_state_dict": state, "epoch": 3000, "all_step": 396_000, **more}, path)
    return path


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_published_checkpoint_is_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    adam = {"state": {0: {"step": 3, "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 2e-4}]}
    net = mssnet.load_official(checkpoint(tmp_path, state, optimizer_state_dict=adam))
    assert net.widths == (20, 60, 100)
    assert not net.training
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, state[key]), key


def test_names_of_a_parallel_training_are_read(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = checkpoint(tmp_path, {f"module.{k}": v.half() for k, v in state.items()})
    found = mssnet.load_official(path).state_dict()
    assert found["fusion12.weight"].dtype == torch.float32
    torch.testing.assert_close(found["fusion12.weight"], state["fusion12.weight"].half().float())


def test_variants_follow_from_the_shapes() -> None:
    for variant in mssnet.VARIANTS:
        with torch.device("meta"):
            meta = getattr(MSSNet, variant)().state_dict()
        table = {key: torch.zeros(tuple(tensor.shape)) for key, tensor in meta.items()}
        assert mssnet_tensors.variant_of(table) == variant


def without_a_head(state: dict[str, Tensor]) -> None:
    del state["tail3_2.weight"]


def with_one_more(state: dict[str, Tensor]) -> None:
    state["E1_1.csff_enc1.weight"] = torch.zeros(20, 20, 1, 1)


def with_another_shape(state: dict[str, Tensor]) -> None:
    state["E3_3.csff_dec2.weight"] = torch.zeros(60, 20, 1, 1)


def with_a_nan(state: dict[str, Tensor]) -> None:
    state["D2_1.up21.up.1.weight"] = state["D2_1.up21.up.1.weight"].clone()
    state["D2_1.up21.up.1.weight"][3, 5] = float("nan")


def with_two_prelus(state: dict[str, Tensor]) -> None:
    state["D3_3.skip_attn2.body.1.weight"] = torch.tensor([0.5])


def with_whole_numbers(state: dict[str, Tensor]) -> None:
    state["fusion23.weight"] = state["fusion23.weight"].int()


def of_another_width(state: dict[str, Tensor]) -> None:
    state.clear()
    state |= MSSNet(6, 4, 2).state_dict()


def of_two_variants(state: dict[str, Tensor]) -> None:
    state |= {k: v for k, v in MSSNet.base().state_dict().items() if k.startswith("E3_3")}


def of_something_else(state: dict[str, Tensor]) -> None:
    state.clear()
    state["conv.weight"] = torch.zeros(3, 3, 3, 3)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_a_head, "lacks 'tail3_2.weight'"),
        (with_one_more, "unknown 'E1_1.csff_enc1.weight'"),
        (with_another_shape, r"'E3_3.csff_dec2.weight' has the shape \(60, 20, 1, 1\)"),
        (with_a_nan, "'D2_1.up21.up.1.weight' has numbers that are not finite"),
        (with_two_prelus, "'D3_3.skip_attn2.body.1.weight' is 0.5"),
        (with_whole_numbers, "'fusion23.weight' holds torch.int32"),
        (of_another_width, r"are \(6, 4, 2\); published are small \(20, 40, 40\)"),
        (of_two_variants, "'E3_3.* has the shape"),
        (of_something_else, "no MSSNet, it lacks 'shallow_feat1.0.weight'"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    tmp_path: Path, state: dict[str, Tensor], spoil: Any, says: str
) -> None:
    table = dict(state)
    spoil(table)
    with pytest.raises(BadInput, match=says) as caught:
        mssnet.load_official(checkpoint(tmp_path, table))
    assert caught.value.code == "E_MODEL_UNTRUSTED"
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("The network file model_03000E.pt was refused: ")


def test_code_in_the_file_does_not_run(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = checkpoint(tmp_path, state, extra=Evil(tmp_path / "pwned"))
    with pytest.raises(BadInput, match="code or objects"):
        mssnet.load_official(path)
    assert not (tmp_path / "pwned").exists()


def test_one_number_that_claims_to_be_gibibytes_is_refused(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = checkpoint(tmp_path, {**state, "fusion12.weight": torch.zeros(1).expand(1 << 31)})
    with pytest.raises(BadInput, match=r"refused: .*(more than 6 GiB|shape)"):
        mssnet.load_official(path)


def test_half_a_file_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = checkpoint(tmp_path, state)
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(BadInput, match="damaged"):
        mssnet.load_official(path)


def test_no_file_and_no_network_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no network file"):
        mssnet.load_official(tmp_path / "none.pt")
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(BadInput, match="must end in"):
        mssnet.load_official(tmp_path / "picture.png")

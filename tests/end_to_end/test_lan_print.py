"""A print that another computer makes, with the real program and networks on both sides."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wallprint_protocol import endpoint
from wallprint_server.models import store
from wallprint_testing.lan import free_port
from wallprint_testing.servers import private_dir, wait_until


def program(state: Path, *arguments: str, code: int = 0) -> str:
    """What `wallprint` says on the computer of this state directory."""
    command = [sys.executable, "-m", "wallprint_server", *arguments]
    run = subprocess.run(
        command, capture_output=True, text=True, env=environment(state), timeout=180
    )
    assert run.returncode == code, run.stderr
    return run.stdout if code == 0 else run.stderr


def environment(state: Path) -> dict[str, str]:
    """One thread on both computers, so that both compute alike."""
    others = {k: v for k, v in os.environ.items() if k != "WALLPRINT_SERVER"}
    return {**others, "WALLPRINT_STATE_DIR": str(state), "OMP_NUM_THREADS": "1"}


def test_print_made_by_a_paired_computer(tmp_path: Path) -> None:
    """Pair by copying a line each way, print here and there, compare every byte of pixels."""
    states = {spec.name: state for spec, state in store.installed()}
    if states["span-x4"] == store.MISSING:
        pytest.skip("span-x4 is not here: wallprint models pull span-x4")
    noise = np.random.default_rng(3).integers(0, 256, (40, 56, 3), np.uint8)
    Image.fromarray(noise).resize((224, 160), Image.Resampling.BICUBIC).save(tmp_path / "p.png")
    with private_dir() as there, private_dir() as here:
        address = f"127.0.0.1:{free_port()}"
        server = subprocess.Popen(
            [sys.executable, "-m", "wallprint_server", "serve", "--lan", address],
            env=environment(there),
        )
        try:
            wait_until(lambda: endpoint.read_connection(there), 20)
            invited = program(there, "pair", "--name", "studio")
            joined = program(here, "pair", re.search(r"(wallprint-host:\S+)", invited)[1])
            program(there, "pair", re.search(r"(wallprint-client:\S+)", joined)[1])
            assert "open at" in program(there, "status")
            prints, summaries = {}, {}
            for host in ("studio", "local"):
                target = tmp_path / f"{host}.tif"
                said = program(
                    here, "enhance", str(tmp_path / "p.png"), "-o", str(target), "--print", "6cm",
                    "--device", "cpu", "--host", host, "--json",
                )  # fmt: skip
                summaries[host] = json.loads(said)
                with Image.open(target) as picture:
                    prints[host] = np.asarray(picture)
            assert (prints["studio"] == prints["local"]).all()
            assert prints["studio"].shape[1] == 472  # 6 cm at 200 ppi
            for field in ("networks", "device", "notes"):
                assert summaries["studio"][field] == summaries["local"][field], field
            assert "studio" in program(here, "status")
            program(there, "stop")
            assert server.wait(10) == 0
            refused = program(
                here, "enhance", str(tmp_path / "p.png"), "-o", str(tmp_path / "no.tif"),
                "--host", "studio", code=3,
            )  # fmt: skip
            assert "studio does not answer" in refused
            assert not (tmp_path / "no.tif").exists()
        finally:
            program(here, "stop")
            if server.poll() is None:
                server.terminate()
                server.wait(10)

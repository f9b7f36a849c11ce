"""The command line as its users run it: real processes, a real server, test pixels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from wallprint_protocol import client
from wallprint_protocol.errors import LinkError
from wallprint_testing.picture_files import icc_profile
from wallprint_testing.servers import LASTING_FILES, LAUNCHER, wait_until

WALLPRINT = [sys.executable, "-m", "wallprint_server"]


class Shell:
    """A working directory with a photograph, a state directory, and the command to run."""

    def __init__(self, folder: Path, state_dir: Path) -> None:
        self.folder, self.state_dir = folder, state_dir
        self.environment = {
            **os.environ,
            "WALLPRINT_STATE_DIR": str(state_dir),
            "WALLPRINT_SERVER": " ".join(LAUNCHER),
            "OMP_NUM_THREADS": "1",
        }
        self.serve_with("quick")

    def serve_with(self, pipeline: str, **settings: Any) -> None:
        """What the next server that is started will do."""
        names = "wallprint_testing.cli_pipelines:"
        config = {"pipeline": names + pipeline, "engine": names + "CpuOnly", **settings}
        self.environment["WALLPRINT_TEST_CONFIG"] = json.dumps(config)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*WALLPRINT, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """(stdout, stderr)."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err
        return out, err

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The one line that --json prints."""
        out, _ = self.run(*arguments, "--json", code=code)
        assert out.count("\n") == 1
        return json.loads(out)

    def status(self) -> dict[str, Any]:
        with client.connect(self.state_dir, start=False) as connection:
            return connection.status()


@contextmanager
def shell_in(tmp_path: Path) -> Iterator[Shell]:
    """At the end no server, no process and no file of a server may be left."""
    # A short name: a socket's path has 107 bytes at most.
    state_dir = Path(tempfile.mkdtemp(prefix="wp-", dir="/tmp"))
    shell = Shell(tmp_path, state_dir)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png", icc_profile=icc_profile(), dpi=(72, 72))
    yield shell
    try:
        with client.connect(state_dir, start=False) as connection:
            connection.stop()
    except LinkError:
        pass  # none is running
    wait_until(lambda: not processes_of(state_dir), 5)
    left = {p.name for p in state_dir.iterdir()} - LASTING_FILES
    shutil.rmtree(state_dir)
    assert left == set()
    assert [p.name for p in tmp_path.rglob(".wallprint*")] == []


def processes_of(state_dir: Path) -> list[int]:
    """Servers and workers of this state directory, or of one in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("WALLPRINT_STATE_DIR", "").startswith(str(state_dir)):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found

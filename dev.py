#!/usr/bin/env python3
"""Set-up in one command, from a fresh clone, with nothing but Python >= 3.10.

    python3 dev.py demo     set everything up, then make a print of a photograph in ./out
    python3 dev.py test     set everything up, then run all checks (arguments go to pytest)
    python3 dev.py setup    set everything up only

Everything goes into ./.venv; run it as often as you like. Standard library only. Knows nothing of
the program itself but how to install and call it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "wallprint-setup.txt"
# The release that the project is developed with; where the package index offers a build without
# CUDA under this number, pip prefers it.
TORCH = "torch==2.13.0"
TORCH_ANY = "torch>=2.6"
# The networks of the default style: fetched now, so that the first print needs no network.
MODELS = ("span-x2", "span-x4")


def say(text: str) -> None:
    """Tell what happens next."""
    print(f"[wallprint] {text}", flush=True)


def fail(text: str) -> None:
    """End with one sentence."""
    sys.exit(f"[wallprint] {text}")


def run(*command: str | Path) -> bool:
    """Run a command with its output on the screen; whether it succeeded."""
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode == 0


def pip(*arguments: str) -> bool:
    """Run pip of the virtual environment with the user's own settings."""
    return run(PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments)


def make_venv() -> None:
    """Create ./.venv if it is not there or belongs to another Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if PYTHON.exists():
        command = [str(PYTHON), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.stdout.strip() == version:
            return
        say(f".venv belongs to Python {found.stdout.strip() or '?'}; making it anew")
        shutil.rmtree(VENV)
    say(f"creating a virtual environment in {VENV}")
    if not run(sys.executable, "-m", "venv", VENV):
        shutil.rmtree(VENV, ignore_errors=True)
        fail(
            "Python's venv module does not work here. On Debian and Ubuntu: "
            f"sudo apt install python{version}-venv; then run this command again."
        )


def install_torch() -> None:
    """PyTorch: a build for the CPU where there is no NVIDIA GPU and one can be had."""
    check = [str(PYTHON), "-c", "import torch"]
    if subprocess.run(check, capture_output=True, check=False).returncode == 0:
        return
    has_gpu = shutil.which("nvidia-smi") is not None
    wanted = TORCH_ANY if has_gpu else TORCH
    say(f"installing PyTorch ({'an NVIDIA GPU was found' if has_gpu else 'no NVIDIA GPU found'})")
    if not pip("install", wanted) and not pip("install", TORCH_ANY):
        fail("PyTorch could not be installed; pip's message above says why.")


def setup() -> None:
    """Everything that the program, its demo and its tests need."""
    if sys.version_info < (3, 10):  # noqa: UP036 (an older Python runs this very file)
        fail(f"Python 3.10 or later is needed; this is {sys.version.split()[0]}.")
    make_venv()
    recipe = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    stamp = hashlib.sha256(recipe + sys.version.encode()).hexdigest()
    if not STAMP.exists() or STAMP.read_text() != stamp:
        install_torch()
        say("installing wallprint and what it needs")
        if not pip("install", "--editable", ".[server,demo,test]"):
            fail("The installation failed; pip's message above says why.")
    say("fetching the networks of the default style")
    if not run(PYTHON, "-m", "wallprint_server.cli", "models", "pull", *MODELS):
        fail("The networks could not be fetched; the message above says what to do.")
    STAMP.write_text(stamp)


def demo() -> int:
    """The main job on a photograph, through a real server."""
    return subprocess.run(
        [str(PYTHON), "-m", "wallprint_server.cli", "demo", *sys.argv[2:]], cwd=ROOT, check=False
    ).returncode


def test() -> int:
    """Style, types and tests; the code of the first that fails."""
    checks: list[list[str]] = [
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "--quiet", "."],
        ["-m", "mypy"],
        ["-m", "pytest", *sys.argv[2:]],
    ]
    # One thread a process: two cores shared by a server, its worker and a test thrash otherwise.
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    for check in checks:
        say(" ".join(check[1:]))
        start = time.monotonic()
        code = subprocess.run(
            [str(PYTHON), *check], cwd=ROOT, env=environment, check=False
        ).returncode
        say(
            f"{check[1]}: {'ok' if code == 0 else f'FAILED ({code})'}, "
            f"{time.monotonic() - start:.0f} s"
        )
        if code:
            return code
    return 0


def main() -> None:
    """Dispatch."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in ("demo", "test", "setup"):
        fail(f"usage: python3 {Path(__file__).name} demo | test [pytest arguments] | setup")
    setup()
    if command == "setup":
        say(f"ready: {BIN / 'wallprint'} --help")
    elif command == "demo":
        sys.exit(demo())
    else:
        sys.exit(test())


if __name__ == "__main__":
    main()

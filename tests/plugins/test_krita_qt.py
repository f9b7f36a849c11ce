"""Krita's dialogs under both Qt bindings: PyQt6 is Krita 6's, which no test has yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATHS = [str(HERE.parents[1] / name) for name in ("plugin_krita", "shared")]


def run(arguments):
    env = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": os.pathsep.join(PATHS),
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "en",
    }
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("binding", ["PyQt6", "PyQt5"])
def test_dialogs_work_under(binding):
    found = run(["-c", f"import {binding}.QtWidgets, {binding}.QtTest"])
    if found.returncode:
        pytest.skip(f"no {binding}: {found.stderr.strip().splitlines()[-1]}")
    done = run([str(HERE / "krita_stand_in.py"), binding])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all used" in done.stdout
    assert "Traceback" not in done.stderr, done.stderr

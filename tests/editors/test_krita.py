"""The plug-in in the real Krita under Xvfb: pixels, profile, undo, selection, cancel, dialogs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from editor_bench import LAUNCHER
from editor_cases import case_names

LAYERS, PRINTS = "krita_cases.py", "krita_print_cases.py"
DIALOGS, GERMAN = "krita_dialog_cases.py", "krita_german_cases.py"


@pytest.fixture(scope="session")
def started(bench):
    """One start of Krita for each script, in the order in which tests ask for them."""
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()[20:260, 110:430]).save(bench.base / "photo.png", dpi=(72, 72))
    outcomes = {}

    def start(script, **more):
        if script not in outcomes:
            outcomes[script] = bench.krita(script, timeout_s=600.0, **more)
            for shot in (bench.base / "shots").glob("krita-*.png"):
                if bench.shots != bench.base / "shots":
                    shutil.copy(shot, bench.shots / f"{bench.suite}-{shot.name}")
        return outcomes[script]

    return start


@pytest.fixture(scope="session")
def german(bench, started):
    """Krita's own way: Settings > Switch Application Language writes this file.

    After the dialogs' script, whose last values it finds.
    """
    started(DIALOGS)
    file = bench.base / "krita" / "config" / "klanguageoverridesrc"
    file.write_text("[Language]\nkrita=de\n")
    try:
        return started(GERMAN)
    finally:
        file.unlink()


@pytest.mark.parametrize("name", case_names(LAYERS))
def test_in_krita(started, name):
    started(LAYERS).check(name)


@pytest.mark.parametrize("name", case_names(PRINTS))
def test_prints(started, name):
    started(PRINTS).check(name)


def test_reproduce_takes_what_krita_saved(bench, started):
    """From the .kra file and the layer's own pixels; bit for bit the print that is in it."""
    started(PRINTS).check("reproducible")
    command = [*LAUNCHER, "reproduce", bench.base / "print.kra", bench.base / "layer.png", "--json"]
    run = subprocess.run(
        command,
        env={**os.environ, "WALLPRINT_STATE_DIR": str(bench.state)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["same"] is True


@pytest.mark.parametrize("name", case_names(DIALOGS))
def test_dialogs(started, name):
    started(DIALOGS).check(name)


@pytest.mark.parametrize("name", case_names(GERMAN))
def test_german(german, name):
    german.check(name)


@pytest.mark.parametrize("script", [LAYERS, PRINTS, DIALOGS, GERMAN])
def test_krita_ends_well(started, german, script):
    outcome = started(script)
    assert outcome.returncode == 0, outcome.log[-2000:]

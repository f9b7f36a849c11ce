"""The plug-in in the real Krita under Xvfb: pixels, profile, undo, selection, cancel, dialogs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from editor_bench import LAUNCHER, REPOSITORY
from editor_cases import case_names

from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Rect
from wallprint_server.imaging.files_in import open_source
from wallprint_server.imaging.relaid import reader_in
from wallprint_server.proof_sheet import lay_out

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
            if script == PRINTS:  # the program, in the tree: this Python and all of the project
                folders = dict.fromkeys((sys.prefix, sys.base_prefix, str(REPOSITORY)))
                more["bind"] = tuple(Path(folder) for folder in folders)
                more["env"] = {"WALLPRINT_SERVER": " ".join(LAUNCHER)}
                subprocess.run(
                    [*LAUNCHER, "enhance", bench.base / "photo.png", "--print", "640px", "-o",
                     bench.base / "printed.tif", "--repair", "0", "--deblur", "0", "--quiet"],
                    env={**os.environ, "WALLPRINT_STATE_DIR": str(bench.state)},
                    check=True,
                )  # fmt: skip
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


def test_crops_of_the_proof_are_the_layers(bench, started):
    """A piece out of each cell of the sheet is found in the print's layer, bit for bit."""
    size = started(PRINTS).check("crops_of_the_proof_are_the_prints")
    printed = np.fromfile(bench.base / "crops.raw", "<u2").reshape(size["height"], size["width"], 4)
    sheet, found = lay_out("a4", 200_000, 2, 2), 0
    with open_source(bench.base / "crops.tif") as source:
        read = reader_in(source, PixelLayout("BGRA", "u16", "straight"))
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            x, y = sheet.place(row, column)
            piece = np.frombuffer(read(Rect(x + 8, y + 8, 40, 24)), "<u2").reshape(24, 40, 4)
            if (piece == 65535).all():
                continue  # of a small picture there are fewer than four crops
            found += 1
            windows = np.lib.stride_tricks.sliding_window_view(printed, (24, 40, 4))[:, :, 0]
            corners = (windows[:, :, 0, 0] == piece[0, 0]).all(-1)
            places = [at for at in np.argwhere(corners) if (windows[tuple(at)] == piece).all()]
            assert places, f"the crop in row {row}, column {column} is not of this print"
    assert found >= 2


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

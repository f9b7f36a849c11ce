"""The plug-in in the real GIMP, headless: pixels, profile, size, ppi, offsets, edges, selection.

Also the print plan, passports, and what the program makes of a print.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from editor_bench import LAUNCHER, REPOSITORY
from editor_cases import case_names

PLANS = "gimp_plan_cases.py"
SCRIPTS = ("gimp_cases.py", "gimp_print_cases.py", PLANS)
CASES = [(script, name) for script in SCRIPTS for name in case_names(script)]


@pytest.fixture(scope="session")
def sessions(bench):
    """Script -> outcome; each runs once, when its first case is asked for."""
    done = {}

    def session(script):
        if script not in done:
            env, bind = {}, ()
            if script == PLANS:  # the plug-in calls the program: this one, from inside the tree
                bind = (REPOSITORY, Path(sys.base_prefix))
                env = {
                    "WALLPRINT_SERVER": " ".join(LAUNCHER),
                    "WALLPRINT_CONFIG_DIR": str(bench.base / "config"),
                    "OMP_NUM_THREADS": "1",
                }
            done[script] = bench.gimp(script, env=env, bind=bind, timeout_s=200.0)
        return done[script]

    return session


@pytest.mark.parametrize(("script", "name"), CASES, ids=[name for _script, name in CASES])
def test_in_gimp(sessions, script, name):
    facts = sessions(script).check(name)
    if "skipped" in facts:
        pytest.skip(facts["skipped"])


@pytest.mark.parametrize("source", ["print.xcf", "print.tif"])
def test_reproduce_takes_what_gimp_saved(bench, sessions, source):
    """From the GIMP document and from an exported file; bit for bit the print that is in it."""
    sessions(PLANS).check("reproducible")
    command = [*LAUNCHER, "reproduce", bench.base / source, bench.base / "layer.png", "--json"]
    run = subprocess.run(
        command,
        env={**os.environ, "WALLPRINT_STATE_DIR": str(bench.state)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert json.loads(run.stdout)["same"] is True

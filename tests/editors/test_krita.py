"""The plug-in in the real Krita under Xvfb: pixels, profile, undo, selection, cancel, dialogs."""

from __future__ import annotations

import shutil

import pytest
from editor_cases import case_names
from test_gimp_gui import photograph

SCRIPT = "krita_cases.py"


@pytest.fixture(scope="session")
def session(bench):
    photograph().save(bench.base / "photo.png", dpi=(72, 72))
    outcome = bench.krita(SCRIPT)
    for shot in (bench.base / "shots").glob("krita-*.png"):
        if bench.shots != bench.base / "shots":
            shutil.copy(shot, bench.shots / f"{bench.suite}-{shot.name}")
    return outcome


@pytest.mark.parametrize("name", case_names(SCRIPT))
def test_in_krita(session, name):
    session.check(name)


def test_krita_ends_well(session):
    assert session.returncode == 0, session.log[-2000:]

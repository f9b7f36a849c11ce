"""The plug-in in the real GIMP, headless: pixels, profile, size, ppi, offsets, edges, selection."""

from __future__ import annotations

import pytest
from editor_cases import case_names

SCRIPTS = ("gimp_cases.py", "gimp_print_cases.py")
CASES = [(script, name) for script in SCRIPTS for name in case_names(script)]


@pytest.fixture(scope="session")
def sessions(bench):
    """Script -> outcome; each runs once, when its first case is asked for."""
    done = {}

    def session(script):
        if script not in done:
            done[script] = bench.gimp(script)
        return done[script]

    return session


@pytest.mark.parametrize(("script", "name"), CASES, ids=[name for _script, name in CASES])
def test_in_gimp(sessions, script, name):
    facts = sessions(script).check(name)
    if "skipped" in facts:
        pytest.skip(facts["skipped"])

"""The plug-in in the real GIMP, headless: pixels, profile, size, ppi, offsets, selection."""

from __future__ import annotations

import pytest
from editor_cases import case_names

SCRIPT = "gimp_cases.py"


@pytest.fixture(scope="session")
def session(bench):
    return bench.gimp(SCRIPT)


@pytest.mark.parametrize("name", case_names(SCRIPT))
def test_in_gimp(session, name):
    facts = session.check(name)
    if "skipped" in facts:
        pytest.skip(facts["skipped"])

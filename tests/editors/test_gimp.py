"""The plug-in in the real GIMP, headless: pixels, profile, size, ppi, offsets, selection."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SCRIPT = "gimp_cases.py"


def case_names(script):
    tree = ast.parse((Path(__file__).parent / script).read_text())
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name.removeprefix("case_") for name in functions if name.startswith("case_")]


@pytest.fixture(scope="session")
def session(bench):
    return bench.gimp(SCRIPT)


@pytest.mark.parametrize("name", case_names(SCRIPT))
def test_in_gimp(session, name):
    facts = session.check(name)
    if "skipped" in facts:
        pytest.skip(facts["skipped"])

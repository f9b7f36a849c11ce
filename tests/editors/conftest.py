"""Fixtures of the real-editor tests. Without a tree they skip, with the reason."""

from __future__ import annotations

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))  # the helpers beside this file, in any import mode

import editor_trees
from editor_bench import Bench

SUITES = os.environ.get("WALLPRINT_EDITOR_SUITES", "trixie").split()


def pytest_collection_modifyitems(items):
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.editors)


@pytest.fixture(scope="session", params=SUITES)
def bench(request):
    try:
        bench = Bench(request.param)
    except editor_trees.TreeUnavailable as reason:
        pytest.skip(f"no {request.param} tree with GIMP and Krita: {reason}")
    try:
        bench.start_server()
        yield bench
    finally:
        bench.close()

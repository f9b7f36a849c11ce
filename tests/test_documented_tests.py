"""The tests that SECURITY.md and docs/protocol.md promise exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
_NAME = re.compile(r"`((?:\w+/)?test_\w+)(?:::(test_\w+))?`")


def promised(document: str) -> list[tuple[str, str]]:
    """File and test, "" for a whole file."""
    return [(m[1], m[2] or "") for m in _NAME.finditer((ROOT / document).read_text("utf-8"))]


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/protocol.md"])
def test_promised_tests_exist(document):
    found = promised(document)
    assert len(found) > 30
    missing = []
    for file, test in found:
        path = TESTS / f"{file if '/' in file else f'server/{file}'}.py"
        if not path.is_file() or (test and f"\ndef {test}(" not in path.read_text("utf-8")):
            missing.append(f"{file}::{test}")
    assert missing == []

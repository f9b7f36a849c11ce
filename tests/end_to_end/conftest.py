"""A shell for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wallprint_testing.shell import Shell, shell_in


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder with a photograph; at the end no server, no process and no file may be left."""
    with shell_in(tmp_path) as one:
        yield one

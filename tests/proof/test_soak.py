"""The soak's default three minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
def test_three_minutes_of_traffic_lose_nothing_and_leave_nothing(tmp_path):
    """No lost job, no mixed-up tile, flat memory, nothing left behind, for all the kills."""
    path = tmp_path / "soak.json"
    run = subprocess.run(
        [sys.executable, str(SOAK), "--json", str(path)],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    outcome = json.loads(path.read_text())
    assert outcome["outcomes"]["done"] > 50
    assert outcome["outcomes"]["cancelled"] > 5
    assert outcome["killed_clients"] > 10
    assert outcome["killed_workers"] > 3

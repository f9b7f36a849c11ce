"""kill -9 of client, server and worker at random moments."""

from __future__ import annotations

import pytest

from wallprint_testing.killing import KNOWS_WITHIN_S, kill_all

KILLS_EACH = 5


@pytest.mark.slow
def test_kill_9_at_random_moments_costs_at_most_the_job(state_dir, no_leaks):
    """No wrong pixel, no client that hangs, nothing left behind; known within two seconds."""
    report = kill_all(state_dir, KILLS_EACH)
    assert report.problems == []
    for target in ("client", "server", "worker"):
        assert report.outcomes(target).total() == KILLS_EACH
        assert report.struck(target) > 0  # the blows do fall into jobs
        assert report.slowest_s(target) < KNOWS_WITHIN_S

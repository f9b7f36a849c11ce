"""kill -9 of client, server and worker at random moments."""

from __future__ import annotations

import pytest

from wallprint_testing.killing import (
    KNOWS_WITHIN_S,
    KillReport,
    kill_clients_and_workers,
    kill_servers,
)

KILLS_EACH = 5


def check(report: KillReport, targets: tuple[str, ...]) -> None:
    assert report.problems == []
    for target in targets:
        assert report.outcomes(target).total() == KILLS_EACH
        assert report.struck(target) > 0  # the blows do fall into jobs
        assert report.slowest_s(target) < KNOWS_WITHIN_S


@pytest.mark.slow
def test_kill_9_at_random_moments_costs_at_most_the_job(state_dir, no_leaks):
    """No wrong pixel, no client that hangs, nothing left behind; known within two seconds."""
    check(kill_clients_and_workers(state_dir, KILLS_EACH), ("client", "worker"))


@pytest.mark.slow
def test_kill_9_of_the_server_ends_the_job_or_starts_another_server(state_dir, no_leaks):
    check(kill_servers(state_dir, KILLS_EACH), ("server",))

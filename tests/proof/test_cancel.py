"""Cancel under load."""

from __future__ import annotations

from wallprint_testing.cancelling import cancel_times, percentile
from wallprint_testing.watching import wait_for_rest

CANCELS, LOAD = 100, 3
ACKNOWLEDGED_S = 0.2


def test_cancel_is_acknowledged_at_once_while_others_keep_the_server_busy(server):
    """0.2 s at the 99th percentile, at random moments of jobs of all sizes."""
    times = cancel_times(server, CANCELS, LOAD)
    assert percentile(times, 99) < ACKNOWLEDGED_S, times[-5:]
    wait_for_rest(server)

"""How fast a cancel is acknowledged while other clients keep server and worker busy."""

from __future__ import annotations

import math
import random
import time
from contextlib import ExitStack

from wallprint_protocol import client
from wallprint_protocol.errors import Cancelled
from wallprint_testing.clients import ClientProcess
from wallprint_testing.job_client import CheckedPicture, Orders
from wallprint_testing.servers import RunningServer

LATER_S = 0.2


def cancel_times(server: RunningServer, count: int, load: int, seed: int = 1) -> list[float]:
    """Seconds from the user's wish to the call's end, sorted, for so many jobs under way.

    Args:
        server: with nothing else to do.
        count: of cancels that met a job; one that is done before is made up for.
        load: client processes that have pictures of all sizes enhanced meanwhile.
        seed: of pictures and moments.
    """
    rng = random.Random(seed)
    times: list[float] = []
    with ExitStack() as stack:
        for number in range(load):
            orders = Orders(str(server.state_dir), seed * 100 + number, side_px=1400)
            other = ClientProcess(orders)
            stack.callback(other.close)
            assert other.wait_for("open")
        connection = stack.enter_context(server.connect())
        while len(times) < count:
            picture = CheckedPicture(rng, 900, 0.5)
            wish_s = time.monotonic() + LATER_S * rng.random()
            try:
                client.enhance(
                    picture.request, picture.read, picture.write, connection=connection,
                    should_cancel=lambda: time.monotonic() > wish_s,  # noqa: B023 (called at once)
                )  # fmt: skip
            except Cancelled:
                times.append(time.monotonic() - wish_s)
            assert not picture.wrong
    return sorted(times)


def percentile(sorted_values: list[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    return sorted_values[max(0, math.ceil(len(sorted_values) * percent / 100) - 1)]

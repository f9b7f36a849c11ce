"""Jobs through a proxy that cuts connections and flips bytes: how they end.

All links ask for checksums, which is what finds a damaged pixel; between two processes of one
computer they are off by default (docs/protocol.md, section 6).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from wallprint_protocol import client, job_run
from wallprint_protocol import connection as connection_module
from wallprint_protocol.connection import Connection
from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_testing.job_client import CheckedPicture
from wallprint_testing.proxy import DOWN, UP, Proxy, Treatment, drop_at, flip_at, pass_on
from wallprint_testing.servers import RunningServer

GIVE_UP_S = 2.0  # then the user cancels; a whole job takes a tenth of it
IN_TIME_S = 20.0  # a login, a user who gives up, an answer to the cancel that does not come
AT_A_TIME = 4
# The client's limits, half a minute each, for those who do not wait so long to see them work.
DEAD_AFTER_S, STALL_S = 3.0, 1.5


@contextmanager
def impatient() -> Iterator[None]:
    """The client's time limits are seconds within this block, and the user has more patience."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection_module, "DEAD_AFTER_S", DEAD_AFTER_S)
        patch.setattr(job_run, "ANSWER_TIMEOUT_S", STALL_S)
        patch.setattr(job_run, "STALL_S", STALL_S)
        patch.setattr(f"{__name__}.GIVE_UP_S", IN_TIME_S)
        yield


@dataclass(frozen=True)
class Ending:
    """Of one job.

    Attributes:
        outcome: "done", "incomplete", "cancelled" (by a user who waited too long: hung) or a code.
        wrong: strips with wrong pixels that the caller was given.
        took_s: until the call came back.
        carried: bytes that the proxy passed on, by direction.
    """

    outcome: str
    wrong: int
    took_s: float
    carried: dict[str, int]


@dataclass
class Endings:
    """Of many.

    Attributes:
        all: one by one, in the order of their seeds.
    """

    all: list[Ending] = field(default_factory=list)

    @property
    def outcomes(self) -> Counter:
        """How many of each."""
        return Counter(ending.outcome for ending in self.all)

    @property
    def wrong(self) -> int:
        """Strips with wrong pixels."""
        return sum(ending.wrong for ending in self.all)

    @property
    def slowest_s(self) -> float:
        """Of all."""
        return max(ending.took_s for ending in self.all)


def run_job(
    server: RunningServer,
    picture: CheckedPicture,
    treat: Treatment,
    name: str = "proxy",
    most_bytes: int = 1 << 16,
) -> Ending:
    """One job through a proxy of its own; only coded errors are endings, all else is raised."""
    path = server.state_dir / f"{name}.sock"
    info = server.info()
    assert info is not None
    with Proxy(path, info.endpoints[0].removeprefix("ipc://"), treat, most_bytes) as proxy:
        began = time.monotonic()
        try:
            with Connection(info.at((f"ipc://{path}",)), checksums=True) as link:
                client.enhance(
                    picture.request, picture.read, picture.write, connection=link,
                    should_cancel=lambda: time.monotonic() - began > GIVE_UP_S,
                )  # fmt: skip
            outcome = "done" if picture.whole else "incomplete"
        except Cancelled:
            outcome = "cancelled"
        except WallprintError as error:
            outcome = error.code
        return Ending(outcome, picture.wrong, time.monotonic() - began, dict(proxy.carried))


def picture_of(seed: int, side_px: int) -> CheckedPicture:
    """The same picture for the same seed."""
    return CheckedPicture(random.Random(seed), side_px, 0.0)


def interfere(server: RunningServer, kind: str, count: int, side_px: int, first_seed: int = 1):
    """So many jobs, each with one cut or some flips at random places of its stream.

    Args:
        server: which must serve on.
        kind: "drop" or "flip".
        count: of jobs.
        side_px: of the pictures; small ones have a stream that is mostly headers.
        first_seed: of pictures and places.
    """

    def one(seed: int) -> Ending:
        rng = random.Random(seed)
        picture = picture_of(seed % 10, side_px)
        way = rng.choice((UP, DOWN))
        size = sizes[seed % 10]
        if kind == "drop":
            return run_job(server, picture, drop_at(rng.randrange(1, size[way]), way), f"p{seed}")
        places = {
            w: [(rng.randrange(size[w]), 1 << rng.randrange(8)) for _ in range(rng.randint(1, 3))]
            for w in {way, rng.choice((UP, DOWN))}
        }
        return run_job(server, picture, flip_at(places), f"p{seed}")

    sizes = {}
    for seed in range(10):
        whole = run_job(server, picture_of(seed, side_px), pass_on)
        assert whole.outcome == "done", whole
        sizes[seed] = whole.carried
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return Endings(list(pool.map(one, range(first_seed, first_seed + count))))

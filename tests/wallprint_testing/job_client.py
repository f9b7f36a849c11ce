"""A client process that has pictures enhanced and checks every pixel; its doings as JSON lines.

    python -m wallprint_testing.job_client '{"state_dir": "/tmp/x", "seed": 1, ...}'

Its results are checked strip by strip against a nearest-neighbour enlargement of its own, so that a
wrong strip counts even when its job fails later. Each line has `t`, seconds on the system's
monotonic clock, and `what`:

    connected                               logged in
    open     number, size, out, plan        a job begins; plan: "run", "cancel" or "leave"
    phase    number, phase                  where it is
    end      number, outcome, wrong         outcome: "done", "cancelled", "left" or an error's code
    lost                                    could not connect
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from wallprint_protocol import client
from wallprint_protocol.connection import Connection
from wallprint_protocol.errors import Cancelled, WallprintError
from wallprint_protocol.pixels import PixelLayout
from wallprint_protocol.print_size import Size, place
from wallprint_protocol.request import Request
from wallprint_testing.servers import LAUNCHER

LAYOUTS = [
    PixelLayout("GRAY", "u8"),
    PixelLayout("RGB", "u8"),
    PixelLayout("RGBA", "u16", "straight"),
    PixelLayout("RGB", "f32", trc="linear"),
]


@dataclass(frozen=True)
class Orders:
    """What to do.

    Attributes:
        state_dir: of the server.
        start: start a server when none runs.
        seed: of sizes, pixels and plans.
        jobs: how many, 0 = until killed, or after SIGTERM to the end of the one in hand.
        side_px: the longest side of a source or result.
        spread: sides are `side_px * random ** spread`; 0 makes all of them the longest.
        model: of the test pipeline.
        pause_s: time that the caller takes for each strip, both ways.
        cancel: share of the jobs that are cancelled at a random moment.
        leave: share of the jobs that their caller breaks off, connection and all.
        give_up_s: a job that takes longer is hung.
    """

    state_dir: str
    seed: int
    jobs: int = 0
    side_px: int = 900
    spread: float = 2.0
    model: str = ""
    pause_s: float = 0.0
    cancel: float = 0.0
    leave: float = 0.0
    give_up_s: float = 60.0
    start: bool = False

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


class Left(Exception):
    """The caller breaks off."""


class CheckedPicture:
    """Random pixels, and what their enlargement must be.

    Args:
        rng: of size and layout.
        side_px: longest side.
        spread: of the sides, see `Orders`.
        model: of the test pipeline.
    """

    def __init__(
        self, rng: random.Random, side_px: int, spread: float = 2.0, model: str = ""
    ) -> None:
        self.layout = rng.choice(LAYOUTS)
        w, h, ow, oh = (max(1, round(side_px * rng.random() ** spread)) for _ in range(4))
        # The scale may be 64 at most, and a 64th at least, on the side that it is taken from.
        least, most = -(-max(w, h) // 60), 60 * min(w, h)
        box = Size(max(least, min(ow, most)), max(least, min(oh, most)))
        self.request = Request.build(
            Size(w, h), self.layout, place(Size(w, h), box, "crop"), model=model
        )
        noise = np.random.default_rng(rng.getrandbits(32))
        row = w * self.layout.bytes_per_pixel
        self.source = noise.integers(0, 256, (h, row), np.uint8)
        out = self.request.out
        pixels = self.source.reshape(h, w, -1)
        rows = np.arange(out.height) * h // out.height
        columns = np.arange(out.width) * w // out.width
        self.expected = np.ascontiguousarray(pixels[rows][:, columns]).reshape(out.height, -1)
        self.rows = 0
        self.wrong = 0

    def read(self, rect) -> memoryview:
        """Strips of the source."""
        return self.source[rect.y : rect.y + rect.height].reshape(-1).data

    def write(self, rect, pixels) -> None:
        """Compare a strip of the result."""
        expected = self.expected[rect.y : rect.y + rect.height].reshape(-1)
        if rect.y != self.rows or not np.array_equal(np.frombuffer(pixels, np.uint8), expected):
            self.wrong += 1
        self.rows = rect.y + rect.height

    @property
    def whole(self) -> bool:
        """Whether all rows were written, all right."""
        return not self.wrong and self.rows == self.request.out.height


class JobClient:
    """Does what its orders say."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.rng = random.Random(orders.seed)
        self.number = 0
        self.stopping = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    @property
    def over(self) -> bool:
        """Whether there is no next job."""
        return self.stopping or 0 < self.orders.jobs <= self.number

    def say(self, what: str, **more) -> None:
        """One line."""
        print(json.dumps({"t": time.monotonic(), "what": what, **more}), flush=True)

    def run(self) -> None:
        """Until the jobs are done."""
        while True:
            try:
                with client.connect(
                    Path(self.orders.state_dir), start=self.orders.start, launcher=LAUNCHER
                ) as connection:
                    self.say("connected")
                    while not self.over:
                        self.job(connection)
                    return
            except Left:
                if self.over:
                    return
            except WallprintError as error:
                self.say("lost", code=error.code)
                if self.over:
                    return
                time.sleep(0.05)

    def job(self, connection: Connection) -> None:
        """One job; raises Left or a LinkError when the connection is over."""
        orders, self.number = self.orders, self.number + 1
        picture = CheckedPicture(self.rng, orders.side_px, orders.spread, orders.model)
        dice = self.rng.random()
        plan = "cancel" if dice < orders.cancel else "run"
        plan = "leave" if 1 - dice < orders.leave else plan
        after_s = 0.3 * self.rng.random() ** 2
        began = time.monotonic()
        phase = ""

        def on_progress(progress):
            nonlocal phase
            if progress.phase != phase:
                phase = progress.phase
                self.say("phase", number=self.number, phase=phase)

        def should_cancel() -> bool:
            late_s = time.monotonic() - began
            if late_s > after_s and plan == "leave":
                raise Left
            return late_s > orders.give_up_s or (late_s > after_s and plan == "cancel")

        def read(rect):
            time.sleep(orders.pause_s)
            return picture.read(rect)

        def write(rect, pixels):
            picture.write(rect, pixels)
            time.sleep(orders.pause_s)

        size, out = picture.request.source, picture.request.out
        self.say("open", number=self.number, plan=plan,
                 size=[size.width, size.height], out=[out.width, out.height])  # fmt: skip
        outcome = "left"
        try:
            client.enhance(
                picture.request, read, write, on_progress=on_progress,
                should_cancel=should_cancel, connection=connection,
            )  # fmt: skip
            outcome = "done" if picture.whole else "incomplete"
        except Cancelled:
            outcome = "hung" if plan != "cancel" else "cancelled"
        except WallprintError as error:
            outcome = error.code
            if outcome.startswith("LINK"):
                raise
        finally:
            self.say("end", number=self.number, outcome=outcome, wrong=picture.wrong)


if __name__ == "__main__":
    JobClient(Orders(**json.loads(sys.argv[1]))).run()

"""What a person sees while a print is made, and how Ctrl-C is heard. Knows nothing of the work."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from dataclasses import asdict
from types import FrameType
from typing import Any

from wallprint_protocol.errors import WallprintError
from wallprint_protocol.job_run import Progress

# Where on the bar a stage begins and ends. Enhancing takes nearly all of the time; what is left of
# it is the server's own estimate, not the bar's.
_SPANS = {
    "read": (0.0, 0.0),
    "queued": (0.04, 0.04),
    "upload": (0.0, 0.04),
    "load": (0.04, 0.06),
    "run": (0.06, 0.93),
    "crop": (0.06, 0.93),
    "download": (0.93, 0.95),
    "save": (0.95, 1.0),
}
_WORDS = {
    "read": "reading",
    "upload": "sending",
    "queued": "waiting for other prints",
    "load": "loading the networks",
    "run": "enhancing",
    "crop": "enhancing",
    "download": "receiving",
    "save": "writing the file",
}
_PLAIN_FIRST_S, _PLAIN_EVERY_S = 1.0, 5.0


class Interrupt:
    """Ctrl-C and SIGTERM as a flag; a second one ends the program at once.

    A context manager; calling it tells whether the flag is set.
    """

    def __init__(self) -> None:
        self._set = False
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether the user wants to stop."""
        return self._set

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._set = True
        signal.signal(number, signal.SIG_DFL)


class ProgressLine:
    """One line on stderr: a bar on a terminal, a sentence every few seconds elsewhere."""

    def __init__(self, name: str, *, quiet: bool, as_json: bool = False) -> None:
        """`name` of the picture; `quiet` shows nothing; `as_json` a line of JSON each time."""
        self._name, self._as_json = name, as_json
        self._bar: Any = None
        on_terminal = sys.stderr.isatty()
        self._drawn, self._plain = on_terminal and not quiet, not on_terminal and not quiet
        self._said_s = time.monotonic() - _PLAIN_EVERY_S + _PLAIN_FIRST_S
        self._done = 0.0

    def show(self, progress: Progress) -> None:
        """Show where the job is."""
        if self._as_json:
            print(json.dumps(asdict(progress)), file=sys.stderr, flush=True)
            return
        low, high = _SPANS.get(progress.phase, (self._done, self._done))
        share = progress.done / progress.total if progress.total else 0.0
        self._done = max(self._done, low + (high - low) * share)
        stage, detail = self._words(progress)
        if self._drawn:
            # Not before the first progress: what is said until then has the line to itself.
            self._bar = self._bar or _bar()
            self._bar.set_description_str(f"{self._name}: {stage}", refresh=False)
            self._bar.set_postfix_str(detail, refresh=False)
            self._bar.n = round(100 * self._done, 1)
            self._bar.refresh()
        elif self._plain and time.monotonic() - self._said_s >= _PLAIN_EVERY_S:
            self._said_s = time.monotonic()
            text = f"{self._name}: {stage}{', ' if detail else ''}{detail} ({self._done:.0%})"
            print(text, file=sys.stderr, flush=True)

    @staticmethod
    def _words(progress: Progress) -> tuple[str, str]:
        """The stage, and tiles and time left."""
        if not progress.responding:
            return "the server does not answer", ""
        stage = _WORDS.get(progress.phase, progress.phase)
        if progress.phase == "queued" and progress.queue_pos:
            return stage, f"{progress.queue_pos} before this one"
        details = []
        unit = {"run": "tile", "crop": "crop"}.get(progress.phase)
        if unit and progress.total:
            details.append(f"{unit} {progress.done} of {progress.total}")
        if progress.eta_s is not None:
            details.append(f"about {duration(progress.eta_s)} left")
        return stage, ", ".join(details)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bar() -> Any:
    """A tqdm bar of 100 parts."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    return tqdm(
        total=100.0,
        bar_format="{desc} |{bar:30}| {percentage:3.0f} %{postfix}",
        leave=False,
        dynamic_ncols=True,
        file=sys.stderr,
    )


def duration(seconds: float) -> str:
    """`8 s`, `3 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def sentence(error: WallprintError) -> str:
    """What to tell a person; a bug's own words alone would say nothing to them."""
    if error.code == "E_INTERNAL" and error.message != error.sentence:
        return f"{error.sentence} ({error.message})"
    return error.message


def say(text: str, *, quiet: bool = False) -> None:
    """A line for a person, on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """A line of the result, on stdout; a reader that has gone away is no error."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)

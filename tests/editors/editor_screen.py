"""A screen of its own for the editors: Xvfb with a window manager, keys, windows, screenshots.

Knows nothing of GIMP, Krita or wallprint. Nothing waits for a fixed time: what a key should do is
waited for, and the key is pressed again when it has not happened.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

XDO_TIMEOUT_S = 15.0


class Screen:
    """One X display, started when it is first needed.

    Attributes:
        shots: where screenshots go.
        display: as ":1"; "" before it is started.
    """

    def __init__(self, shots: Path, prefix: str) -> None:
        self.shots = shots
        self.shots.mkdir(parents=True, exist_ok=True)
        self.display = ""
        self._prefix = prefix
        self._display: subprocess.Popen | None = None
        self._manager: subprocess.Popen | None = None

    def stop_display(self) -> None:
        """End what `start_display` started."""
        for process in (self._manager, self._display):
            if process is not None:
                process.kill()
                process.wait()

    def start_display(self) -> None:
        """Xvfb with a window manager, on the first free number."""
        if self._display is not None:
            return
        read, write = os.pipe()
        self._display = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x1000x24", "-nolisten", "tcp"],
            pass_fds=(write,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            self.display = f":{pipe.readline().strip()}"
        self._manager = subprocess.Popen(
            ["openbox"],
            env={**os.environ, "DISPLAY": self.display},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def xdo(self, *arguments: str) -> str:
        """Run xdotool on the display; nothing when it has to wait for a window too long."""
        try:
            done = subprocess.run(
                ["xdotool", *arguments],
                env={**os.environ, "DISPLAY": self.display},
                capture_output=True,
                text=True,
                check=False,
                timeout=XDO_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout.strip()

    def wait_until(
        self, condition: Callable[[], object], timeout_s: float, why: str | Callable[[], str] = ""
    ) -> None:
        """Return as soon as the condition holds; fail with a screenshot when it never does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                if self.display:
                    self.shot("timeout")
                text = why() if callable(why) else why or "not reached"
                raise AssertionError(f"{text} (waited {timeout_s:.0f} s)")
            time.sleep(0.05)

    def windows(self, title: str) -> list[str]:
        """Ids of the visible windows with this title (a pattern)."""
        return self.xdo("search", "--onlyvisible", "--name", title).splitlines()

    def window(self, title: str, timeout_s: float = 60.0) -> str:
        """Id of the visible window with this title (a pattern); fails when none comes."""
        self.wait_until(lambda: self.windows(title), timeout_s, f"no window {title!r}")
        return self.windows(title)[-1]

    def is_gone(self, window: str) -> Callable[[], bool]:
        """A condition: the window with this id is no longer to be seen."""
        return lambda: window not in self.windows(".*")

    def press(
        self,
        window: str,
        key: str,
        until: Callable[[], object],
        *,
        patience_s: float = 5.0,
        attempts: int = 8,
    ) -> None:
        """Press a key in a window until it has had its effect: a busy editor may lose one."""
        for _attempt in range(attempts):
            self.xdo("windowactivate", "--sync", window)
            self.xdo("key", key)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline:
                if until():
                    return
                time.sleep(0.05)
        self.shot("key-without-effect")
        raise AssertionError(f"{key} in window {window} had no effect {attempts} times")

    def press_seen(self, window: str, *keys: str) -> None:
        """Press keys one after the other in a window until the last leaves another picture."""
        before = self.still(window)
        for _attempt in range(5):
            self.xdo("windowactivate", "--sync", window)
            for key in keys:
                self.xdo("key", key)
            if self.still(window) != before:
                return
        raise AssertionError(f"{keys} in window {window} changed nothing that can be seen")

    def still(self, window: str, timeout_s: float = 30.0) -> bytes:
        """The window's picture as soon as it no longer changes, as PPM."""
        self.xdo("mousemove", "1399", "999")  # no hints over it
        seen = [b"", self._picture(window)]

        def same() -> bool:
            time.sleep(0.15)
            seen.append(self._picture(window))
            return seen[-1] == seen[-2] != b""

        self.wait_until(same, timeout_s, f"window {window} does not come to rest")
        return seen[-1]

    def _picture(self, window: str) -> bytes:
        done = subprocess.run(
            ["import", "-window", window, "ppm:-"],
            env={**os.environ, "DISPLAY": self.display},
            capture_output=True,
            check=False,
        )
        return done.stdout

    def geometry(self, window: str) -> tuple[int, int]:
        """Width and height of a window."""
        lines = self.xdo("getwindowgeometry", "--shell", window).splitlines()
        shell = dict(line.split("=") for line in lines)
        return int(shell["WIDTH"]), int(shell["HEIGHT"])

    def shot(self, name: str, window: str = "root") -> Path:
        """A screenshot as PNG."""
        path = self.shots / f"{self._prefix}-{name}.png"
        subprocess.run(
            ["import", "-window", window, str(path)],
            env={**os.environ, "DISPLAY": self.display},
            check=False,
        )
        return path

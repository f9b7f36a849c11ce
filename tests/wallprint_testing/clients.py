"""Client processes (`job_client`) and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from wallprint_testing.job_client import Orders

TESTS = str(Path(__file__).parents[1])


class ClientProcess:
    """One of them; `said` holds its lines so far."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.said: list[dict] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wallprint_testing.job_client", orders.to_json()],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": TESTS},
        )
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("}\n"):  # one that is killed may leave half a line
                self.said.append(json.loads(line))

    def heard(self, what: str, phase: str = "") -> dict | None:
        """The first line of this kind."""
        for line in list(self.said):
            if line["what"] == what and phase in ("", line.get("phase")):
                return line
        return None

    def wait_for(self, what: str, phase: str = "", timeout_s: float = 60.0) -> bool:
        """Whether it said so before its end."""
        deadline = time.monotonic() + timeout_s
        while self.heard(what, phase) is None:
            if self.process.poll() is not None:
                self._thread.join()
                return self.heard(what, phase) is not None
            assert time.monotonic() < deadline, f"no {what} {phase}: {self.said[-3:]}"
            time.sleep(0.002)
        return True

    def wait(self, timeout_s: float) -> int:
        """Its exit code; all it said is then in `said`."""
        code = self.process.wait(timeout_s)
        self._thread.join()
        return code

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.wait(5.0)

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait(5.0)
        if self.process.stdout is not None:
            self.process.stdout.close()

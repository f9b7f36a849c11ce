"""What must not leave the processes: pixels in core dumps, the user's name in logs.

Knows neither sockets nor pixels.
"""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path


def forbid_core_dumps() -> None:
    """No core dump of this process and its children, neither as a file nor through a pipe.

    Linux hands a dump to a program (apport, systemd-coredump) without regard to the limit, but for
    the value 1, which it takes for that program's own crash (core(5), fs/coredump.c). A file of one
    byte is not written either.
    """
    limit = 1 if sys.platform == "linux" else 0
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    except ValueError:  # whoever started us has set it to 0 already
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class PrivateFormatter(logging.Formatter):
    """Writes `~` for the user's home: a log that is sent to someone names nobody."""

    def __init__(self, format_: str) -> None:
        super().__init__(format_)
        try:
            home = Path.home()
            homes = {str(home), str(home.resolve())}
        except (OSError, RuntimeError):
            homes = set()
        self._homes = sorted(homes - {"/", "."}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """The line, or the lines of a traceback."""
        text = super().format(record)
        for home in self._homes:
            text = text.replace(home, "~")
        return text

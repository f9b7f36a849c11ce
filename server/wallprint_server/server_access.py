"""Which server a command works with: the user's own, one named by address, or a private one.

Knows nothing of jobs.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from wallprint_protocol import client, endpoint
from wallprint_protocol.errors import BadInput, WallprintError

AUTO, EMBEDDED = "auto", "embedded"


def launcher() -> list[str] | None:
    """The command that starts this very program; None when the user has named one.

    The editors search for it (endpoint.find_launcher). Here it is known, also when the virtual
    environment it lives in is not on the PATH.
    """
    if os.environ.get("WALLPRINT_SERVER"):
        return None
    return [sys.executable, "-m", "wallprint_server"]


class ServerAccess:
    """Connects when first asked and keeps the connection; ends a private server at the end.

    Args:
        where: "auto", "embedded", the path of a `server.json` or its folder, or an address.
        host: where the server has jobs computed, see `client.Connection`.
        on_status: gets a sentence to show while a server starts.
        should_cancel: looked at while a server starts.

    Raises:
        BadInput: `where` is none of these.
    """

    def __init__(
        self,
        where: str = AUTO,
        *,
        host: str = "",
        on_status: Callable[[str], None] | None = None,
        should_cancel: Callable[[], bool] | None = None,
    ) -> None:
        self._host = host
        self._on_status, self._should_cancel = on_status, should_cancel
        self._private: Path | None = None
        self._where: str | Path = where
        self._connection: client.Connection | None = None
        if where not in (AUTO, EMBEDDED) and "://" not in where:
            self._where = _state_dir_of(Path(where))

    def connection(self) -> client.Connection:
        """A logged-in connection.

        Raises:
            WallprintError: no server could be reached or started.
        """
        if self._connection is None:
            if self._where == EMBEDDED and self._private is None:
                self._private = Path(tempfile.mkdtemp(prefix="wallprint-"))
            self._connection = client.connect(
                self._private or self._where,
                start=self._private is not None or self._where == AUTO,
                launcher=launcher(),
                host=self._host,
                on_status=self._on_status,
                should_cancel=self._should_cancel,
            )
        return self._connection

    def forget(self) -> None:
        """Close a connection that has failed; the next use makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the connection; end a private server and remove what it left."""
        if self._private is not None:
            try:
                # On a connection of its own: on ours an unfinished job may have left answers.
                self.forget()
                with client.connect(self._private, start=False) as connection:
                    connection.stop()
            except WallprintError:
                pass  # it has ended by itself
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None
        self.forget()

    def __enter__(self) -> ServerAccess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _state_dir_of(path: Path) -> Path:
    """The state directory that a path names."""
    if path.is_dir():
        return path
    if path.name == endpoint.CONNECTION_FILE and path.is_file():
        return path.parent
    raise BadInput(
        f"--server {path}: give `auto`, `embedded`, the path of a server's "
        f"{endpoint.CONNECTION_FILE}, or an address such as ipc://... or tcp://127.0.0.1:PORT."
    )

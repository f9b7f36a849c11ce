"""Two computers that are paired, in two state directories of this one."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from wallprint_protocol import client
from wallprint_protocol.connection import Connection
from wallprint_server.pairing import PairedHost, Pairings
from wallprint_testing.servers import RunningServer, alive, private_dir, wait_until


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pair(
    host_dir: Path, client_dir: Path, address: str, name: str = "studio", client: str = "laptop"
) -> PairedHost:
    """Both steps and the answer; the host as the client knows it."""
    there, here = Pairings(host_dir), Pairings(client_dir)
    host, answer = here.join(there.invite(address, name), "")
    there.admit(answer, client)
    return host


def talk(paired: PairedHost, **more) -> Connection:
    """A client of the host without a server of its own, as the relay is."""
    return Connection(paired.connection_info(), checksums=True, **more)


class TwoComputers:
    """A host that serves the network, and the user's computer.

    Attributes:
        host_dir: the host's state directory.
        here_dir: the user's.
        host: the host's server, while it runs.
        here: the user's server.
        paired: the host as the user's computer knows it.
    """

    def __init__(self, host_dir: Path, here_dir: Path, address: str = "127.0.0.1") -> None:
        """`address` of the host."""
        self.host_dir, self.here_dir = host_dir, here_dir
        self.port = free_port()
        self.address = f"{address}:{self.port}"
        self.paired = pair(host_dir, here_dir, self.address)
        self.servers: list[RunningServer] = []

    def start_host(self, **settings) -> RunningServer:
        """The host's server."""
        self.host = self._start(self.host_dir, {"lan": self.address, **settings})
        return self.host

    def start_here(self, **settings) -> RunningServer:
        """The user's own server."""
        self.here = self._start(self.here_dir, settings)
        return self.here

    def kill_host(self) -> None:
        """`kill -9`, and what it leaves behind."""
        self.host.process.kill()
        self.host.process.wait()
        for name in ("server.json", "s.sock"):
            (self.host_dir / name).unlink(missing_ok=True)

    def connect(self, host: str = "studio") -> client.Connection:
        """The user's command line or editor."""
        return client.connect(self.here_dir, start=False, host=host)

    def _start(self, directory: Path, settings: dict) -> RunningServer:
        server = RunningServer(directory, **settings)
        self.servers.append(server)
        return server

    def close(self) -> None:
        """End both; they must end by themselves and without a traceback."""
        running = [server for server in self.servers if server.process.poll() is None]
        children = [
            child
            for server in running
            for child in psutil.Process(server.process.pid).children(recursive=True)
        ]
        codes = [server.stop() for server in running]
        wait_until(lambda: not any(map(alive, children)), 5)
        assert set(codes) <= {0}, codes
        for server in self.servers:
            log = server.log()
            planned = "a secret bug" in log or "It went wrong here" in log
            assert "Traceback" not in log or planned, log


@contextlib.contextmanager
def two_computers(host_dir: Path, here_dir: Path) -> Iterator[TwoComputers]:
    """Both servers running."""
    computers = TwoComputers(host_dir, here_dir)
    try:
        computers.start_host()
        computers.start_here()
        yield computers
    finally:
        computers.close()


@pytest.fixture
def host_dir():
    """State directory of another computer."""
    with private_dir() as directory:
        yield directory


@pytest.fixture
def computers(host_dir, state_dir, no_leaks):
    """A host that serves the network, and the user's computer, paired."""
    with two_computers(host_dir, state_dir) as both:
        yield both

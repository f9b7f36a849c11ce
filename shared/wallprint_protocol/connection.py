"""One logged-in connection: login, requests and their answers, signs of life.

Knows nothing of jobs (client.py) nor of how a server is found or started (endpoint.py).
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Optional, TypeVar

from . import PROTOCOL_MAJOR, PROTOCOL_MINOR, __version__, messages, wire
from .dealer import USER, Dealer, open_dealer
from .endpoint import ConnectionInfo, check_local
from .errors import (
    LinkClosed,
    LinkProtocol,
    LinkRefused,
    LinkTimeout,
    ProtocolError,
    from_code,
)

CAPABILITIES = ("icc", "cmyk", "f16", "crc", "resume")
CONNECT_TIMEOUT_S = 2.0
LOGIN_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 30.0
DEAD_AFTER_S = 30.0
AWAY_S = 10.0
SILENT_PINGS = 3

Reconnect = Callable[[Optional[Callable[[], bool]]], "Connection"]  # noqa: UP045 (Python 3.9)
Answer = TypeVar("Answer", bound=messages.Message)


class Connection:
    """A logged-in connection; owned by one thread, closed by `close()` or `with`.

    Made by `client.connect`. Attributes:
        info: the connection file's content.
        server_state: "warming" or "ready".
        max_chunk_bytes: the largest tile that both sides take.
        limits: what the server announced.
        caps: what the server can do.
        checksums: whether tiles carry one in both directions.
        host: where its jobs are computed: "" as the server is set, else `local`, the name of a
            paired host, or `NAME,local` (docs/protocol.md, section 13).
    """

    def __init__(
        self,
        info: ConnectionInfo,
        *,
        host: str = "",
        editor: str = "",
        editor_version: str = "",
        checksums: bool = False,
        again: Reconnect | None = None,
    ) -> None:
        """Connect and log in; see `client.connect`.

        Args:
            info: where, and the secrets.
            host: see the attribute.
            editor: for the server's log.
            editor_version: for the server's log.
            checksums: have tiles carry one.
            again: makes a connection in place of this one when it is lost; None tries the same
                address once more.
        """
        self.info = info
        self.checksums = checksums
        self.host = host
        self.caps: frozenset[str] = frozenset()
        self._again = again or (
            lambda should_cancel: Connection(
                info,
                host=host,
                editor=editor,
                editor_version=editor_version,
                checksums=checksums,
            )
        )
        self.server_state = "warming"
        self.max_chunk_bytes = wire.MAX_CHUNK_BYTES
        self.limits: dict[str, Any] = {}
        self._ping_s = 2.0
        self._request_id = 0
        self._unanswered: set[int] = set()  # numbers of requests
        self._jobs: set[bytes] = set()  # that this side has spoken of
        self._heard_s = self._looked_s = time.monotonic()
        self._pings = 0
        self._dealer = _open(info)
        try:
            self._log_in(editor, editor_version)
        except BaseException:
            self.close()
            raise

    # -- what a caller asks ------------------------------------------------------------------------

    def models(self) -> list[dict[str, Any]]:
        """The networks the server knows, one map each (fields: docs/protocol.md, `models`)."""
        answer = self.request(messages.Models(self.next_id()), messages.ModelList)
        return list(answer.models)

    def status(self) -> dict[str, Any]:
        """State, version, uptime, worker, device, jobs and clients of the server."""
        answer = self.request(messages.ServerStatus(self.next_id()), messages.StatusReport)
        return answer.status

    def stop(self) -> None:
        """End the server; returns when it has closed the connection, its files being gone by then.

        Raises:
            LinkTimeout: it has not ended within 10 s.
        """
        self.request(messages.ServerStop(self.next_id()), messages.Ok)
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise LinkTimeout("the server has promised to stop and still runs")
            try:
                self.receive(left_s)
            except LinkClosed:
                return
            except LinkTimeout:
                continue
            except Exception as error:
                if getattr(error, "code", "") != "E_SHUTDOWN":
                    raise

    def close(self) -> None:
        """End the connection; jobs of this connection that still run are cancelled."""
        self._dealer.close()

    def reconnect(self, should_cancel: Callable[[], bool] | None = None) -> None:
        """Put a new connection in the place of a lost one; the server may be another one then.

        Args:
            should_cancel: looked at while a server starts.

        Raises:
            WallprintError: as `client.connect`; this connection stays closed.
        """
        self._dealer.close()
        fresh = self._again(should_cancel)
        again, self.__dict__ = self._again, fresh.__dict__
        self._again = again

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- what client.py is made of -----------------------------------------------------------------

    @property
    def responding(self) -> bool:
        """False after three pings without an answer."""
        return self._pings < SILENT_PINGS

    def next_id(self) -> int:
        """A fresh request number."""
        self._request_id += 1
        return self._request_id

    def send(self, message: messages.Message) -> None:
        """Send one message."""
        number, job = getattr(message, "id", None), getattr(message, "j", None)
        if number is not None:
            self._unanswered.add(number)
        if job is not None:
            self._jobs.add(job)
        self._dealer.send(wire.encode(message), timeout_s=SEND_TIMEOUT_S)

    def request(
        self,
        message: messages.Message,
        answer_type: type[Answer],
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Answer:
        """Send and wait for the answer; what else arrives meanwhile is dropped.

        Raises:
            WallprintError: the server refused this, or something sent before.
            LinkTimeout: no answer in time.
        """
        self.send(message)
        return self.await_answer(message.id, answer_type, timeout_s)  # type: ignore[attr-defined]

    def await_answer(
        self, request_id: int, answer_type: type[Answer], timeout_s: float = REQUEST_TIMEOUT_S
    ) -> Answer:
        """The answer to a request that was sent."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise LinkTimeout("the server does not answer")
            message = self.receive(min(left_s, self._ping_s))
            answers = getattr(message, "re", None) == request_id
            # An error about no job may be about this very request, whose number was damaged.
            if isinstance(message, messages.Error) and (answers or message.j is None):
                raise from_code(message.code, message.msg, message.detail)
            if message is None or not answers:
                continue
            if isinstance(message, answer_type):
                return message
            raise LinkProtocol(f"{answer_type.t} expected, {message.t} received")

    def receive(self, timeout_s: float) -> messages.Message | None:
        """The next message that is not about the connection itself; None when there is none.

        Raises:
            WallprintError: E_SHUTDOWN, the server says goodbye.
            LinkClosed, LinkTimeout: the server is gone, or silent for 30 s.
            LinkProtocol: it does not keep to the protocol: no message, one of a type that is not
                known and may not be ignored, an answer to nothing, or a word about a job that this
                side has never spoken of. Waiting on would be waiting for what was damaged.
        """
        self._notice_absence()
        try:
            frames = self._dealer.receive(timeout_s=timeout_s)
        except LinkTimeout:
            self._ping_if_silent()
            return None
        self._heard_s, self._pings = time.monotonic(), 0
        try:
            message = wire.decode(frames, messages.FROM_SERVER)
        except ProtocolError as error:
            if error.code == "E_UNKNOWN_TYPE" and error.detail["t"].startswith("$"):
                return None  # a newer server's news
            raise LinkProtocol(f"from the server: {error}") from error
        self._check_order(message)
        if isinstance(message, messages.Ping):
            with contextlib.suppress(LinkClosed):  # what it sent before it went is still to be read
                self.send(messages.Pong(message.q))
        elif isinstance(message, messages.ServerNews):
            self.server_state = message.state
        elif isinstance(message, messages.Bye):
            raise from_code("E_SHUTDOWN", f"The server is stopping ({message.reason}).")
        elif not isinstance(message, messages.Pong):
            return message
        return None

    def _check_order(self, message: messages.Message) -> None:
        """Answers are to requests without one, and jobs are those of this side."""
        number, job = getattr(message, "re", None), getattr(message, "j", None)
        if not isinstance(message, messages.Error):  # an error is always heard
            if number is not None and number not in self._unanswered:
                raise LinkProtocol(
                    f"from the server: {message.t} answers request {number}, which waits for none"
                )
            if job is not None and job not in self._jobs:
                raise LinkProtocol(f"from the server: {message.t} about a job of nobody here")
        if number is not None:
            self._unanswered.discard(number)

    def _notice_absence(self) -> None:
        """After a sleep of the computer, or of ours, the server gets a new chance."""
        now_s = time.monotonic()
        if now_s - self._looked_s > AWAY_S:
            self._heard_s, self._pings = now_s, 0
        self._looked_s = now_s

    def _ping_if_silent(self) -> None:
        silent_s = time.monotonic() - self._heard_s
        if silent_s > DEAD_AFTER_S:
            raise LinkTimeout(f"The server has not answered for {silent_s:.0f} s.")
        if silent_s > self._ping_s * (self._pings + 1):
            self._pings += 1
            self.send(messages.Ping(self._pings))

    def _log_in(self, editor: str, editor_version: str) -> None:
        nonce = secrets.token_bytes(32)
        about: dict[str, Any] = {"name": "wallprint", "version": __version__}
        if self.info.curve is None:  # another computer need not know what runs here
            about |= {
                "editor": editor,
                "editor_version": editor_version,
                "os": sys.platform,
                "python": platform.python_version(),
                "pid": os.getpid(),
            }
        hello = messages.Hello(
            id=self.next_id(),
            proto=(PROTOCOL_MAJOR,),
            minor=PROTOCOL_MINOR,
            nonce=nonce,
            client=about,
            caps=CAPABILITIES if self.checksums else tuple(c for c in CAPABILITIES if c != "crc"),
            max_chunk=wire.MAX_CHUNK_BYTES,
        )
        challenge = self.request(hello, messages.Challenge, LOGIN_TIMEOUT_S)
        expected = wire.proof(self.info.key, b"S", nonce, challenge.nonce)
        if not wire.same(challenge.proof, expected):
            raise LinkRefused(
                "Whoever answers in place of the wallprint server could not prove to be it; "
                "nothing was sent."
            )
        auth = messages.Auth(
            self.next_id(), wire.proof(self.info.key, b"C", challenge.nonce, nonce)
        )
        welcome = self.request(auth, messages.Welcome, LOGIN_TIMEOUT_S)
        self.info = replace(self.info, boot=welcome.boot)
        self.server_state = welcome.state
        self.limits = welcome.limits
        self.caps = frozenset(welcome.caps)
        self._ping_s = max(0.1, welcome.ping_ms / 1000)
        chunk = welcome.limits.get("chunk")
        if type(chunk) is int and 0 < chunk < self.max_chunk_bytes:
            self.max_chunk_bytes = chunk


def _open(info: ConnectionInfo) -> Dealer:
    """A socket connected to the first endpoint that answers."""
    problem: Exception = LinkClosed("the connection file names no endpoint")
    for endpoint in info.endpoints:
        if info.curve is None:
            check_local(endpoint)
        dealer = open_dealer()
        try:
            dealer.connect(
                endpoint,
                user=USER,
                password=info.gate,
                timeout_s=CONNECT_TIMEOUT_S,
                curve=info.curve,
            )
        except BaseException as error:
            dealer.close()
            if not isinstance(error, (LinkClosed, LinkTimeout)):
                raise
            problem = error
        else:
            return dealer
    raise problem

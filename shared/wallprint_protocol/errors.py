"""What can go wrong, as exceptions, as codes that travel, and as sentences for a retoucher.

Knows nothing of sockets or pixels. Every exception that a person may get to see derives from
`WallprintError`:

    WallprintError              code, message, detail; .retry .exit_code .sentence
    ├── BadInput                the picture, an option or the request cannot be used       exit 2
    ├── ServerTrouble           the server is missing, broken or stopping                  exit 3
    │   ├── ProtocolError       a message that WPP/1 does not allow
    │   ├── NotInstalled        no launcher was found
    │   ├── StartFailed         the server was launched and did not come up
    │   └── LinkError           the connection:
    │       ├── LinkRefused         wrong proof, not private, not this user's
    │       │   └── GateRefused         refused, or left, before the first message
    │       ├── LinkClosed          the other side is gone
    │       ├── LinkTimeout         nothing was heard in time
    │       └── LinkProtocol        what came in is not ZMTP or not WPP/1
    ├── OutOfResources          memory or disk does not suffice                            exit 4
    └── Cancelled               the user asked for it                                    exit 130

Codes that begin with `E_` travel (protocol.md 2.11) and never change their meaning; the others
arise on the client's side only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EXIT_DONE, EXIT_INPUT, EXIT_SERVER, EXIT_RESOURCES, EXIT_CANCELLED = 0, 2, 3, 4, 130


@dataclass(frozen=True)
class CodeInfo:
    """What is fixed about one code.

    Attributes:
        retry: "no", "now", "later", or "changed" (only with other options).
        exit_code: of the command line.
        sentence: for a retoucher, in plain English; the plug-ins translate by code.
    """

    retry: str
    exit_code: int
    sentence: str


CODES: dict[str, CodeInfo] = {
    "E_AUTH": CodeInfo(
        "no", EXIT_SERVER, "The program and its server do not know each other; restart the server."
    ),
    "E_VERSION": CodeInfo(
        "no", EXIT_SERVER, "The program and its server are of different versions; update the older."
    ),
    "E_PROTO": CodeInfo("no", EXIT_SERVER, "The server did not understand the program."),
    "E_BAD_FIELD": CodeInfo("no", EXIT_INPUT, "The server refused one of the values it was given."),
    "E_UNKNOWN_TYPE": CodeInfo(
        "no", EXIT_SERVER, "The server does not know this request; update the server."
    ),
    "E_LIMIT": CodeInfo("changed", EXIT_INPUT, "The picture or the print is too large."),
    "E_CREDIT": CodeInfo("no", EXIT_SERVER, "The program sent more than the server had asked for."),
    "E_CRC": CodeInfo("now", EXIT_SERVER, "Pixels were damaged on their way; please try again."),
    "E_INCOMPLETE": CodeInfo(
        "now", EXIT_SERVER, "Part of the picture did not arrive; please try again."
    ),
    "E_BUSY": CodeInfo(
        "later", EXIT_SERVER, "The server has enough to do; try again when a print is finished."
    ),
    "E_UNKNOWN_JOB": CodeInfo(
        "now", EXIT_SERVER, "The server has no such job any more; please start again."
    ),
    "E_DUPLICATE_JOB": CodeInfo("no", EXIT_SERVER, "This job exists already with other options."),
    "E_OOM_GPU": CodeInfo(
        "changed",
        EXIT_RESOURCES,
        "The graphics memory does not suffice; close other programs or compute on the CPU.",
    ),
    "E_OOM_HOST": CodeInfo(
        "later", EXIT_RESOURCES, "The computer's memory does not suffice; close other programs."
    ),
    "E_DISK_FULL": CodeInfo(
        "later", EXIT_RESOURCES, "There is not enough room on the disk; free some and try again."
    ),
    "E_GPU_LOST": CodeInfo("now", EXIT_SERVER, "The graphics card stopped; please try again."),
    "E_BACKEND": CodeInfo(
        "no", EXIT_SERVER, "The computation broke off; the server's log says where."
    ),
    "E_DEVICE": CodeInfo(
        "changed", EXIT_INPUT, "The device asked for is not there; choose another or `auto`."
    ),
    "E_HOST_AWAY": CodeInfo(
        "later",
        EXIT_SERVER,
        "The computer that should make the print cannot be used; switch it on, or let this one.",
    ),
    "E_TIMEOUT": CodeInfo("now", EXIT_SERVER, "The server waited too long for pixels."),
    "E_POISON": CodeInfo(
        "no", EXIT_SERVER, "This job brought the server down twice; it is not tried again."
    ),
    "E_SHUTDOWN": CodeInfo("later", EXIT_SERVER, "The server is stopping."),
    "E_INTERNAL": CodeInfo(
        "no", EXIT_SERVER, "The server made a mistake; its log says where. Please report it."
    ),
    "E_MODEL_NOT_FOUND": CodeInfo("no", EXIT_INPUT, "There is no such network."),
    "E_MODEL_UNTRUSTED": CodeInfo("no", EXIT_INPUT, "This network's file is not to be trusted."),
    "E_MODEL_LOAD": CodeInfo("no", EXIT_SERVER, "The network's file could not be loaded."),
    # From here on: never on the wire.
    "BAD_INPUT": CodeInfo("changed", EXIT_INPUT, "The picture or an option cannot be used."),
    "NOT_INSTALLED": CodeInfo("no", EXIT_SERVER, "The wallprint server is not installed."),
    "START_FAILED": CodeInfo("no", EXIT_SERVER, "The wallprint server did not start."),
    "LINK_REFUSED": CodeInfo("no", EXIT_SERVER, "The server refused the connection."),
    "LINK_CLOSED": CodeInfo("now", EXIT_SERVER, "The connection to the server broke."),
    "LINK_TIMEOUT": CodeInfo("now", EXIT_SERVER, "The server does not answer."),
    "LINK_PROTOCOL": CodeInfo("no", EXIT_SERVER, "Whoever answered is not a wallprint server."),
    "CANCELLED": CodeInfo("no", EXIT_CANCELLED, "Cancelled."),
}


class WallprintError(Exception):
    """Base of all; `str()` is the message, one sentence with the values and what to do now.

    Attributes:
        code: a key of CODES.
        message: plain English.
        detail: machine-readable particulars, or {}.
    """

    default_code = "E_INTERNAL"

    def __init__(
        self, message: str = "", *, code: str = "", detail: dict[str, Any] | None = None
    ) -> None:
        self.code = code or self.default_code
        self.message = message or self.info.sentence
        self.detail = detail or {}
        super().__init__(self.message)

    @property
    def info(self) -> CodeInfo:
        """What is fixed about the code; a code of a newer server counts as E_INTERNAL."""
        return CODES.get(self.code, CODES["E_INTERNAL"])

    @property
    def retry(self) -> str:
        """When to try again: "no", "now", "later" or "changed"."""
        return self.info.retry

    @property
    def exit_code(self) -> int:
        """Exit code of the command line."""
        return self.info.exit_code

    @property
    def sentence(self) -> str:
        """The code's plain sentence."""
        return self.info.sentence


class BadInput(WallprintError):
    """The picture, an option or the request cannot be used."""

    default_code = "BAD_INPUT"


class ServerTrouble(WallprintError):
    """The server is missing, broken or stopping."""


class ProtocolError(ServerTrouble):
    """A message that WPP/1 does not allow.

    Attributes:
        re: number of the request it arose from, if that could be read.
    """

    default_code = "E_PROTO"

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        detail: dict[str, Any] | None = None,
        re: int | None = None,
    ) -> None:
        super().__init__(message, code=code, detail=detail)
        self.re = re


class NotInstalled(ServerTrouble):
    """No launcher was found."""

    default_code = "NOT_INSTALLED"


class StartFailed(ServerTrouble):
    """The server was launched and did not come up."""

    default_code = "START_FAILED"


class LinkError(ServerTrouble):
    """The connection failed."""

    default_code = "LINK_CLOSED"


class LinkRefused(LinkError):
    """Wrong proof, or a place that is not this user's alone."""

    default_code = "LINK_REFUSED"


class GateRefused(LinkRefused):
    """Refused, or left, before the first message.

    Wrong gate or mechanism; also a server that ended or has just been started anew: closing
    without a word is how ZMTP refuses a mechanism.
    """


class LinkClosed(LinkError):
    """The other side is gone."""

    default_code = "LINK_CLOSED"


class LinkTimeout(LinkError):
    """Nothing was heard in time."""

    default_code = "LINK_TIMEOUT"


class LinkProtocol(LinkError):
    """What came in is not ZMTP or not WPP/1."""

    default_code = "LINK_PROTOCOL"


class OutOfResources(WallprintError):
    """Memory or disk does not suffice."""

    default_code = "E_OOM_HOST"


class Cancelled(WallprintError):
    """The user asked for it."""

    default_code = "CANCELLED"


_BY_EXIT = {
    EXIT_INPUT: BadInput,
    EXIT_SERVER: ServerTrouble,
    EXIT_RESOURCES: OutOfResources,
    EXIT_CANCELLED: Cancelled,
}


def from_code(code: str, message: str, detail: dict[str, Any] | None = None) -> WallprintError:
    """The exception for a code that came over the wire."""
    exit_code = CODES.get(code, CODES["E_INTERNAL"]).exit_code
    return _BY_EXIT[exit_code](message, code=code, detail=detail)

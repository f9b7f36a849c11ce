"""Which computers know each other: keys, invitations, clients that may come in, hosts to go to.

Files only, no sockets. Everything lies in `lan/` of the state directory (0700, files 0600, checked
at each reading as ssh checks its keys). Two computers are paired by one line each way: the host's
carries its address, its public key and a secret that is good once and for half an hour; the
client's answer carries the client's public key, and proves by that secret that it is the answer to
this very line. The secret also becomes the login key of the two (docs/protocol.md, section 13).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from wallprint_protocol import endpoint
from wallprint_protocol.endpoint import ConnectionInfo, CurveKeys
from wallprint_protocol.errors import BadInput, LinkRefused, WallprintError
from wallprint_protocol.wire import proof, same

FOLDER = endpoint.file_name("lan")
KEY_FILE, CLIENTS_FILE, HOSTS_FILE, INVITATION_FILE = (
    "key.json", "clients.json", "hosts.json", "invitation.json",
)  # fmt: skip
DEFAULT_PORT = 47970
# What cannot come from beyond the house: RFC 1918, 3927, 4193, 4291, and this computer.
PRIVATE_NETWORKS = (
    "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,127.0.0.0/8,fc00::/7,fe80::/10,::1"
)
INVITATION_S = 30 * 60.0
LOCAL = "local"
_HOST_LINE, _CLIENT_LINE = "wallprint-host:", "wallprint-client:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_CHECK_BYTES = 4
Paired = TypeVar("Paired", "PairedClient", "PairedHost")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def fingerprint(public: bytes) -> bytes:
    """Eight bytes by which people and logs tell a public key."""
    return hashlib.sha256(public).digest()[:8]


def readable(mark: bytes) -> str:
    """A fingerprint for people: `1a2b 3c4d 5e6f 7081`."""
    text = mark.hex()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


@dataclass(frozen=True)
class PairedClient:
    """A computer that may have prints made here.

    Attributes:
        name: what it is called here.
        public: its public key, 32 bytes.
        key: login key of the two, 32 bytes.
    """

    name: str
    public: bytes
    key: bytes

    @property
    def fingerprint(self) -> bytes:
        """Of its public key."""
        return fingerprint(self.public)

    def to_map(self) -> dict[str, Any]:
        """For the file."""
        return {"name": self.name, "public": self.public.hex(), "key": self.key.hex()}

    @classmethod
    def from_map(cls, value: dict[str, Any]) -> PairedClient:
        """Inverse of `to_map`; raises ValueError, KeyError or TypeError."""
        return cls(str(value["name"]), _key(value["public"]), _key(value["key"]))


@dataclass(frozen=True)
class PairedHost:
    """A computer that makes prints for this one.

    Attributes:
        name: what it is called here.
        address: `IP:PORT`, an IPv6 address in brackets.
        curve: its pinned key, and ours for it.
        key: login key of the two, 32 bytes.
    """

    name: str
    address: str
    curve: CurveKeys
    key: bytes

    @property
    def fingerprint(self) -> bytes:
        """Of its public key."""
        return fingerprint(self.curve.server)

    def connection_info(self) -> ConnectionInfo:
        """Where the host is and the secrets, in the shape of a connection file."""
        return ConnectionInfo(
            boot=b"",
            pid=0,
            start_id="",
            endpoints=(f"tcp://{self.address}",),
            gate=b"",
            key=self.key,
            version="",
            log="",
            curve=self.curve,
        )

    def to_map(self) -> dict[str, Any]:
        """For the file, and for the process that computes."""
        return {
            "name": self.name,
            "address": self.address,
            "server": self.curve.server.hex(),
            "public": self.curve.public.hex(),
            "secret": self.curve.secret.hex(),
            "key": self.key.hex(),
        }

    @classmethod
    def from_map(cls, value: dict[str, Any]) -> PairedHost:
        """Inverse of `to_map`; raises ValueError, KeyError or TypeError."""
        curve = CurveKeys(_key(value["server"]), _key(value["public"]), _key(value["secret"]))
        address = lan_address(str(value["address"]))
        return cls(str(value["name"]), address, curve, _key(value["key"]))


@dataclass(frozen=True)
class Place:
    """Where a job is computed.

    Attributes:
        host: the paired host, None for this computer.
        or_local: whether this computer computes when the host is away.
    """

    host: PairedHost | None = None
    or_local: bool = False


class Pairings:
    """The pairings of one state directory; files are read again when they have changed.

    Every method may raise LinkRefused: a file is not private.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER
        self._read: dict[str, tuple[tuple[int, int, int], Any]] = {}

    # -- what the server asks ----------------------------------------------------------------------

    def clients(self) -> list[PairedClient]:
        """Computers that may have prints made here."""
        return self._load(CLIENTS_FILE, PairedClient.from_map)

    def hosts(self) -> list[PairedHost]:
        """Computers that make prints for this one."""
        return self._load(HOSTS_FILE, PairedHost.from_map)

    def client(self, mark: bytes) -> PairedClient | None:
        """The client with a public key of this fingerprint."""
        return next((c for c in self.clients() if c.fingerprint == mark), None)

    def place(self, text: str) -> Place:
        """Read `local`, `NAME` or `NAME,local`.

        Raises:
            WallprintError: E_DEVICE, there is no such host.
        """
        name, _, other = text.partition(",")
        if text == LOCAL:
            return Place()
        host = next((host for host in self.hosts() if host.name == name), None)
        if host is None or other not in ("", LOCAL):
            have = ", ".join(host.name for host in self.hosts()) or "none"
            raise WallprintError(
                f"{text[:80]!r} names no paired computer (there are: {have}); write `{LOCAL}`, a "
                f"name, or `NAME,{LOCAL}` for this computer when the other is away.",
                code="E_DEVICE",
            )
        return Place(host, other == LOCAL)

    def server_keys(self) -> tuple[bytes, bytes]:
        """This computer's public and secret key as a host; made when there are none."""
        values = self._load(KEY_FILE, lambda value: (_key(value["public"]), _key(value["secret"])))
        if values:
            found: tuple[bytes, bytes] = values[0]
            return found
        public, secret = _new_keys()
        self._save(KEY_FILE, [{"public": public.hex(), "secret": secret.hex()}])
        return public, secret

    # -- pairing -----------------------------------------------------------------------------------

    def invite(self, address: str, name: str) -> str:
        """On the host: the line for the client; an earlier one that was not answered is void.

        Args:
            address: `IP:PORT` at which clients reach this computer.
            name: what it is called there; "" makes one up.
        """
        public, _ = self.server_keys()
        secret = secrets.token_bytes(32)
        self._save(INVITATION_FILE, [{"secret": secret.hex(), "until": time.time() + INVITATION_S}])
        name = _checked_name(name or f"host-{fingerprint(public).hex()[:6]}")
        value = {"name": name, "address": address, "public": public.hex(), "secret": secret.hex()}
        return _HOST_LINE + _armour(value)

    def join(self, line: str, name: str) -> tuple[PairedHost, str]:
        """On the client: pin the host of a line; the host, and the line that answers it.

        Args:
            line: from `invite`.
            name: what the host is called here; "" takes the line's word.

        Raises:
            BadInput: no such line, or the host is known with another key.
        """
        value = _read_line(line, _HOST_LINE, ("name", "address", "public", "secret"))
        server, secret = _key(value["public"]), _key(value["secret"])
        name = _checked_name(name or str(value["name"]))
        address = lan_address(str(value["address"]))
        hosts = self.hosts()
        for known in hosts:
            if (known.name == name or known.address == address) and known.curve.server != server:
                raise BadInput(_changed("host", known.name, known.fingerprint, fingerprint(server)))
        before = next((host for host in hosts if host.curve.server == server), None)
        if before is not None:
            public, own_secret = before.curve.public, before.curve.secret
        else:
            public, own_secret = _new_keys()
        curve = CurveKeys(server, public, own_secret)
        host = PairedHost(name, address, curve, _login_key(secret, server, public))
        self._save(HOSTS_FILE, [h.to_map() for h in [*(h for h in hosts if h != before), host]])
        answer = {
            "name": f"client-{fingerprint(public).hex()[:6]}",
            "public": public.hex(),
            "proof": proof(secret, b"C", server, public).hex(),
        }
        return host, _CLIENT_LINE + _armour(answer)

    def admit(self, line: str, name: str) -> PairedClient:
        """On the host: let the client of a line in; the invitation is used up by that.

        Args:
            line: from `join`.
            name: what the client is called here; "" takes the line's word.

        Raises:
            BadInput: no such line, no open invitation that it answers, or the client is known with
                another key.
        """
        value = _read_line(line, _CLIENT_LINE, ("name", "public", "proof"))
        public = _key(value["public"])
        invitations = self._load(INVITATION_FILE, lambda v: (_key(v["secret"]), float(v["until"])))
        secret, until = invitations[0] if invitations else (b"", 0.0)
        if not secret or time.time() > until:
            raise BadInput(
                "No invitation is open here, or it is more than half an hour old; run "
                "`wallprint pair` for a new line and begin again with that."
            )
        server, _ = self.server_keys()
        if not same(_key(value["proof"]), proof(secret, b"C", server, public)):
            raise BadInput(
                "This line does not answer the invitation that is open here; run `wallprint pair` "
                "for a new line and begin again with that."
            )
        name = _checked_name(name or str(value["name"]))
        clients = self.clients()
        for known in clients:
            if known.name == name and known.public != public:
                raise BadInput(_changed("client", name, known.fingerprint, fingerprint(public)))
        client = PairedClient(name, public, _login_key(secret, server, public))
        kept = [c for c in clients if c.public != public]
        self._save(CLIENTS_FILE, [c.to_map() for c in [*kept, client]])
        (self._folder / INVITATION_FILE).unlink()
        return client

    def remove(self, name: str) -> bool:
        """Forget the clients and hosts of a name; whether there were any."""
        clients, hosts = self.clients(), self.hosts()
        left_clients = [client for client in clients if client.name != name]
        left_hosts = [host for host in hosts if host.name != name]
        if len(left_clients) < len(clients):
            self._save(CLIENTS_FILE, [client.to_map() for client in left_clients])
        if len(left_hosts) < len(hosts):
            self._save(HOSTS_FILE, [host.to_map() for host in left_hosts])
        return len(left_clients) + len(left_hosts) < len(clients) + len(hosts)

    # -- files -------------------------------------------------------------------------------------

    def _load(self, name: str, read: Callable[[dict[str, Any]], Any]) -> list[Any]:
        """The file's entries, [] when there is none."""
        path = self._folder / name
        try:
            endpoint.check_private(self._folder)
            endpoint.check_private(path)
            status = path.stat()
            signature = (status.st_ino, status.st_mtime_ns, status.st_size)
            if name not in self._read or self._read[name][0] != signature:
                entries = [read(value) for value in json.loads(path.read_text("utf-8"))]
                self._read[name] = (signature, entries)
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise LinkRefused(
                f"{path} is damaged ({error!s:.100}); remove it and pair the computers again."
            ) from None
        return list(self._read[name][1])

    def _save(self, name: str, entries: list[dict[str, Any]]) -> None:
        endpoint.make_private(self._folder.parent)
        endpoint.make_private(self._folder)
        endpoint.write_private(self._folder / name, json.dumps(entries, indent=1))


class AllowList:
    """Who may shake hands at the door to the network: a paired key, from an allowed address.

    Args:
        pairings: of this server.
        networks: `lan_allow` of the configuration, addresses and networks with commas between.

    Raises:
        BadInput: one of the networks is none.
    """

    def __init__(self, pairings: Pairings, networks: str) -> None:
        self._pairings = pairings
        self._networks = parse_networks(networks)

    def refusal(self, public: bytes, address: str) -> str:
        """Why this key from this address may not come in; "" when it may."""
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return "an address that is none"
        peer = getattr(peer, "ipv4_mapped", None) or peer
        if not any(peer in network for network in self._networks):
            return "an address that is not allowed"
        if not any(hmac.compare_digest(c.public, public) for c in self._pairings.clients()):
            return "a key that is not paired"
        return ""


def parse_networks(text: str) -> list[Network]:
    """Networks and addresses with commas between; raises BadInput for what is none."""
    try:
        return [ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",")]
    except ValueError as error:
        raise BadInput(
            f"lan_allow: {error}; write networks or addresses such as 192.168.1.0/24,10.0.0.7."
        ) from None


def lan_address(text: str) -> str:
    """`IP:PORT`, from that or from an IP alone; a port of 0 is any free one.

    Raises:
        BadInput: it is no address of one computer.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (text.count(":") > 1 and not host.endswith("]")):
        host, port = text, str(DEFAULT_PORT)
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if not (port.isdecimal() and int(port) < 1 << 16) or address.is_unspecified:
            raise ValueError
    except ValueError:
        raise BadInput(
            f"{text[:80]!r} is not this computer's address in its network; write it as "
            f"192.168.1.20 or, with a port other than {DEFAULT_PORT}, as 192.168.1.20:PORT."
        ) from None
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def is_host_line(line: str) -> bool:
    """Whether a line is a host's, not a client's.

    Raises:
        BadInput: it is neither.
    """
    if line.startswith((_HOST_LINE, _CLIENT_LINE)):
        return line.startswith(_HOST_LINE)
    raise BadInput(
        "That is no line of `wallprint pair`; copy the whole line, it begins with "
        f"{_HOST_LINE} or {_CLIENT_LINE}"
    )


def _new_keys() -> tuple[bytes, bytes]:
    from wallprint_protocol.dealer_pyzmq import curve_key_pair  # zmq: only when keys are made

    return curve_key_pair()


def _login_key(secret: bytes, server: bytes, public: bytes) -> bytes:
    """What the two prove to each other at each login, from the secret that both have seen."""
    return proof(secret, b"K", server, public)


def _key(text: Any) -> bytes:
    """32 bytes from hexadecimal; raises ValueError or TypeError."""
    value = bytes.fromhex(text)
    if len(value) != 32:
        raise ValueError(f"a key of {len(value)} bytes")
    return value


def _checked_name(name: str) -> str:
    if _NAME.fullmatch(name) and name != LOCAL:
        return name
    raise BadInput(
        f"{name[:80]!r} cannot be a computer's name; use 1..40 letters, digits, dots and hyphens, "
        f"and not `{LOCAL}`."
    )


def _changed(kind: str, name: str, known: bytes, new: bytes) -> str:
    return (
        f"The {kind} {name} is paired with another key ({readable(known)}; this line has "
        f"{readable(new)}). If that computer was set up anew, forget the old key first: "
        f"wallprint pair --remove {name}. If it was not, someone else made this line."
    )


def _armour(value: dict[str, Any]) -> str:
    """A map as text that survives copying, with a checksum that shows when it did not."""
    data = json.dumps(value, separators=(",", ":")).encode()
    data += hashlib.sha256(data).digest()[:_CHECK_BYTES]
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _read_line(line: str, prefix: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Inverse of `_armour`; raises BadInput."""
    text = "".join(line.split()).removeprefix(prefix)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
        if hashlib.sha256(body).digest()[:_CHECK_BYTES] != check:
            raise ValueError("checksum")
        value = json.loads(body)
        if not isinstance(value, dict) or not all(isinstance(value.get(k), str) for k in wanted):
            raise ValueError("fields")
        for field in {"public", "secret", "proof"} & value.keys():
            _key(value[field])
    except ValueError:
        raise BadInput(
            "The line is not whole; copy all of it, from `wallprint-` to its end."
        ) from None
    return value

"""`wallprint pair`: make two computers known to each other, one line each way."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wallprint_protocol import client, endpoint
from wallprint_protocol.errors import EXIT_DONE, BadInput, LinkClosed, LinkTimeout

from ..config import ServerConfig
from ..pairing import Pairings, fingerprint, is_host_line, lan_address, readable
from ..terminal import tell

if TYPE_CHECKING:
    from . import Subparsers

_STEPS = """\
the computer that computes (the host):   wallprint pair
    prints a line; copy it to the other computer, where your pictures are
the other computer:                      wallprint pair LINE
    prints a line back; copy it to the host
the host:                                wallprint pair LINE

Send the lines so that nobody can exchange them on the way, and compare the fingerprint that both
computers show. The first line is good once and for half an hour."""


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "pair",
        parents=list(parents),
        help="let another computer of your network make the prints",
        description="Makes two computers of a network known to each other: prints of the one can "
        "then be computed by the other, encrypted, and by no third.",
        epilog=_STEPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "line", nargs="?", metavar="LINE", help="what the other computer has printed"
    )
    parser.add_argument("--name", default="", help="what the other computer is called here")
    parser.add_argument("--list", action="store_true", help="show which computers are paired")
    parser.add_argument("--remove", metavar="NAME", help="forget one; it is let in no more")
    parser.add_argument("--json", action="store_true", help="one line on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """One step of a pairing, the list, or the removal."""
    if sum((bool(options.line), options.list, options.remove is not None)) > 1:
        raise BadInput("LINE, --list and --remove exclude each other; give one of them.")
    pairings = Pairings(endpoint.state_dir())
    if options.list:
        summary, text = _listed(pairings)
    elif options.remove is not None:
        if not pairings.remove(options.remove):
            raise BadInput(
                f"No computer named {options.remove!r} is paired; `wallprint pair --list` shows "
                "which are."
            )
        summary, text = {"removed": options.remove}, f"{options.remove} is forgotten."
    elif options.line is None:
        summary, text = _invited(pairings, options.name)
    elif is_host_line(options.line):
        host, answer = pairings.join(options.line, options.name)
        summary = {
            "host": host.name,
            "fingerprint": host.fingerprint.hex(),
            "line": answer,
        }
        text = (
            f"{host.name} has the fingerprint {readable(host.fingerprint)}; it must show the same."
            f"\nNow run there:\n\n    wallprint pair {answer}\n\nAfter that, prints are made there "
            f'with --host {host.name}; "host": "{host.name}" in '
            f"{endpoint.state_dir() / 'config.json'} makes that the rule, for the editors too."
        )
    else:
        paired = pairings.admit(options.line, options.name)
        summary = {"client": paired.name, "fingerprint": paired.fingerprint.hex()}
        text = f"{paired.name} may have prints made here from now on."
    tell(json.dumps(summary) if options.json else text)
    return EXIT_DONE


def _listed(pairings: Pairings) -> tuple[dict[str, object], str]:
    """Both directions, as a map and for people."""
    clients, hosts = pairings.clients(), pairings.hosts()
    summary: dict[str, object] = {
        "clients": [{"name": c.name, "fingerprint": c.fingerprint.hex()} for c in clients],
        "hosts": [
            {"name": h.name, "address": h.address, "fingerprint": h.fingerprint.hex()}
            for h in hosts
        ],
    }
    lines = [
        *(f"{h.name}: makes prints for this computer, {h.address}, {readable(h.fingerprint)}"
          for h in hosts),
        *(f"{c.name}: has prints made here, {readable(c.fingerprint)}" for c in clients),
    ]  # fmt: skip
    return summary, "\n".join(lines) or "No computer is paired with this one."


def _invited(pairings: Pairings, name: str) -> tuple[dict[str, object], str]:
    """The host's line; raises BadInput when this computer does not serve the network."""
    line = pairings.invite(_own_address(), name)
    public, _ = pairings.server_keys()
    summary: dict[str, object] = {"line": line, "fingerprint": fingerprint(public).hex()}
    text = (
        f"This computer has the fingerprint {readable(fingerprint(public))}.\n"
        f"On the other computer, within half an hour, run:\n\n    wallprint pair {line}"
    )
    return summary, text


def _own_address() -> str:
    """Where the running server serves the network; where none runs, as the configuration says."""
    configured = ServerConfig.load().lan
    try:
        with client.connect("auto", start=False) as connection:
            lan = connection.status()["lan"]
    except (LinkClosed, LinkTimeout):
        if configured:
            return lan_address(configured)
    else:
        if lan["state"] == "on":
            return str(lan["endpoint"]).removeprefix("tcp://")
        if lan["state"] == "failed":
            raise BadInput(f"The server is not in the network: {lan['problem']}.")
        if configured:
            raise BadInput(
                "The server was started before it was to serve the network; run `wallprint stop`, "
                "then pair."
            )
    raise BadInput(
        "This computer does not serve the network. Run `wallprint serve --lan ADDRESS` with its "
        f'address, or put "lan": "ADDRESS" into {endpoint.state_dir() / "config.json"} and run '
        "`wallprint stop`; then pair."
    )

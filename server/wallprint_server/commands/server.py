"""`wallprint serve`, `status` and `stop`: the server by hand; editors start it by themselves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wallprint_protocol import client, endpoint
from wallprint_protocol.errors import EXIT_DONE, EXIT_SERVER, LinkClosed, LinkTimeout

from ..terminal import duration, tell

if TYPE_CHECKING:
    from . import Subparsers


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the three parsers."""
    serve = subparsers.add_parser(
        "serve",
        parents=list(parents),
        help="run the server in the foreground",
        description="Runs the server in the foreground until `wallprint stop` or Ctrl-C.",
    )
    serve.add_argument(
        "--ensure", action="store_true", help="be content when one is running already"
    )
    serve.add_argument("--start-id", metavar="ID", default="", help="what a starter knows us by")
    serve.add_argument(
        "--systemd", action="store_true", help="listen at the socket that systemd hands over"
    )
    serve.add_argument(
        "--lan",
        metavar="ADDRESS[:PORT]",
        help="also let paired computers in, at this address of this computer (off by default)",
    )
    serve.add_argument(
        "--lan-allow",
        metavar="NETWORKS",
        help="from where they may come: 192.168.1.0/24,10.0.0.7 (default private networks only)",
    )
    serve.set_defaults(run=run_serve)
    for name, run, text in (
        ("status", run_status, "show whether a server is running and what it does"),
        ("stop", run_stop, "end the running server"),
    ):
        parser = subparsers.add_parser(name, parents=list(parents), help=text)
        parser.add_argument("--json", action="store_true", help="one line on stdout")
        parser.set_defaults(run=run)


def run_serve(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    # zmq is loaded by no other command that does not need it
    from .. import service
    from ..config import ServerConfig

    return service.serve(
        ensure=options.ensure,
        start_id=options.start_id,
        systemd=options.systemd,
        config=ServerConfig.load(lan=options.lan, lan_allow=options.lan_allow),
    )


def run_status(options: argparse.Namespace) -> int:
    """Show the server's state; EXIT_SERVER when none is running."""
    try:
        with client.connect("auto", start=False) as connection:
            status = connection.status()
    except (LinkClosed, LinkTimeout):
        log = endpoint.state_dir() / endpoint.SERVER_LOG
        text = "No server is running; it starts by itself with the first print."
        if log.exists():
            text += f"\nThe log of the last one: {log}"
        tell(json.dumps({"running": False, "log": str(log)}) if options.json else text)
        return EXIT_SERVER
    if options.json:
        tell(json.dumps({"running": True, **status}))
        return EXIT_DONE
    for label, value in _rows(status):
        tell(f"{label + ':':10} {value}")
    return EXIT_DONE


def _rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    jobs = [f"{count} {state}" for state, count in status.get("jobs", {}).items()]
    return [
        ("server", f"wallprint {status['version']}, process {status['pid']}, {status['state']}"),
        ("running", f"for {duration(status['uptime_s'])}"),
        ("address", ", ".join(status["endpoints"])),
        ("device", status.get("device") or "not known before the first print"),
        ("clients", str(status["clients"])),
        ("prints", ", ".join(jobs) or "none"),
        *_network_rows(status),
        ("log", status["log"]),
    ]


def _network_rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Whether other computers may have prints made here, and which make prints for this one."""
    lan = status["lan"]
    if lan["state"] == "on":
        names = ", ".join(lan["clients"]) or "nobody yet; see `wallprint pair`"
        text = f"open at {lan['endpoint'].removeprefix('tcp://')} for {names}"
        text += f"; {lan['connected']} connected"
    else:
        text = lan["problem"] or "off"
    rows = [("network", text)]
    if status["hosts"]:
        rows += [("hosts", ", ".join(status["hosts"])), ("prints at", status["host"])]
    return rows


def run_stop(options: argparse.Namespace) -> int:
    """End the server; that none is running is no error."""
    try:
        with client.connect("auto", start=False) as connection:
            connection.stop()
    except (LinkClosed, LinkTimeout):
        tell(json.dumps({"stopped": False}) if options.json else "No server is running.")
        return EXIT_DONE
    tell(json.dumps({"stopped": True}) if options.json else "The server has ended.")
    return EXIT_DONE

"""`wallprint models`: which networks there are; `pull`, `add` and `remove` some."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wallprint_protocol.errors import EXIT_DONE, BadInput

from ..models import store
from ..terminal import say, tell

if TYPE_CHECKING:
    from . import Subparsers


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    parser = subparsers.add_parser(
        "models",
        parents=list(parents),
        help="list the networks; pull, add or remove some",
        description="Lists the networks. `models pull NAME ...` fetches, verifies and converts. "
        "`models add NAME FILE` makes a published MSSNet checkpoint the deblurring network; "
        "`models remove NAME` forgets a network of your own.",
    )
    parser.add_argument("action", nargs="?", choices=["pull", "add", "remove"])
    parser.add_argument("names", nargs="*", metavar="NAME|FILE")
    parser.add_argument("--json", action="store_true", help="one line on stdout")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List, or pull one."""
    if options.action == "pull":
        if not options.names:
            raise BadInput("`wallprint models pull` needs a name; `wallprint models` lists them.")
        for name in options.names:
            path = store.pull(name, say)
            summary = {"name": name, "path": str(path)}
            tell(json.dumps(summary) if options.json else f"{name} is ready: {path}")
        return EXIT_DONE
    if options.action in ("add", "remove"):
        return _own(options)
    rows = [
        {
            "name": spec.name,
            "role": spec.role,
            "scale": spec.scale,
            "style": spec.style,
            "licence": spec.licence,
            "state": state,
            "title": spec.title,
        }
        for spec, state in store.installed()
    ]
    if options.json:
        tell(json.dumps({"models": rows}))
        return EXIT_DONE
    columns = ("name", "role", "scale", "licence", "state", "title")
    table = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        tell(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )
    return EXIT_DONE


def _own(options: argparse.Namespace) -> int:
    """Add or remove a network of the user's."""
    if options.action == "remove":
        if len(options.names) != 1:
            raise BadInput("`wallprint models remove` needs one name, as `wallprint models` lists.")
        name = options.names[0]
        store.remove_user_model(name)
        done = f"{name} is removed."
    else:
        if len(options.names) != 2:
            raise BadInput(
                "`wallprint models add` needs a name and a file: "
                "wallprint models add mssnet-gopro FILE"
            )
        from ..models import mssnet_import  # torch: a second that listing need not wait for

        say("checking and measuring the network; this takes a minute or two")
        name = mssnet_import.add(options.names[0], Path(options.names[1]))
        done = f"{name} is now the deblurring network."
    tell(json.dumps({"name": name, "action": options.action}) if options.json else done)
    return EXIT_DONE

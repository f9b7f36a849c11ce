"""`wallprint models`: which networks there are, and `models pull NAME` to have one at hand."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
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
        help="list the networks; `models pull NAME ...` makes some ready",
        description="Lists the networks. `models pull NAME ...` fetches, verifies and converts.",
    )
    parser.add_argument("action", nargs="?", choices=["pull"])
    parser.add_argument("names", nargs="*", metavar="NAME")
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

"""The `wallprint` command: reads the arguments, runs one subcommand, turns errors into sentences.

Knows nothing of pictures or servers; each subcommand is a module of `commands`. Imports no torch:
what the user types is answered at once.

Exit codes: 0 done, 2 bad arguments or input, 3 server trouble, 4 out of memory or disk,
130 cancelled.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from wallprint_protocol import PROTOCOL_VERSION, __version__
from wallprint_protocol.errors import (
    EXIT_CANCELLED,
    EXIT_RESOURCES,
    EXIT_SERVER,
    BadInput,
    WallprintError,
)

from .commands import COMMANDS
from .terminal import sentence


class _Parser(argparse.ArgumentParser):
    """Raises its complaint instead of printing the usage and leaving; takes whole names only."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        message = message[:1].upper() + message[1:]
        raise BadInput(f"{message.rstrip('.')}. `{self.prog} --help` shows what there is.")


def make_parser() -> argparse.ArgumentParser:
    """All subcommands with their options."""
    parser = _Parser(
        prog="wallprint",
        description="Enlarges a photograph for a wall print: exact size, sharp edges, "
        "nothing invented.",
    )
    version = f"wallprint {__version__}, protocol WPP/{PROTOCOL_VERSION}"
    parser.add_argument("--version", action="version", version=version)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--debug", action="store_true", help="show where in the program an error arose"
    )
    subparsers: Any = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for command in COMMANDS:
        command.add_to(subparsers, [shared])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    if debug:
        logging.basicConfig(level=logging.INFO)
    try:
        options = make_parser().parse_args(arguments)
        return int(options.run(options))
    except WallprintError as error:
        return _fail(arguments, error.code, sentence(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(arguments, "CANCELLED", "Cancelled.", EXIT_CANCELLED)
    except MemoryError:
        message = "The computer's memory does not suffice; close other programs."
        return _fail(arguments, "E_OOM_HOST", message, EXIT_RESOURCES)
    except Exception as error:  # the edge: nobody above us would turn it into a sentence
        message = (
            f"wallprint made a mistake ({type(error).__name__}: {error}); "
            "run it again with --debug and report what it prints."
        )
        return _fail(arguments, "E_INTERNAL", message, EXIT_SERVER)


def _fail(arguments: Sequence[str], code: str, message: str, exit_code: int) -> int:
    """Say what went wrong; must be called while the exception is handled."""
    if "--debug" in arguments:
        traceback.print_exc()
    print(f"wallprint: {message}", file=sys.stderr)
    if "--json" in arguments:
        summary = {"exit_code": exit_code, "error": {"code": code, "message": message}}
        print(json.dumps(summary))
    return exit_code


if __name__ == "__main__":
    sys.exit(main())

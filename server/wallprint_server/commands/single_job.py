"""What every command that makes one thing needs: a server, a progress line, Ctrl-C."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from wallprint_protocol import client

from ..server_access import ServerAccess
from ..terminal import Interrupt, ProgressLine, say


class SingleJob(NamedTuple):
    """What a job is made with.

    Attributes:
        connect: a logged-in connection, made when first asked for.
        line: shows the progress.
        cancelled: whether the user pressed Ctrl-C.
    """

    connect: Callable[[], client.Connection]
    line: ProgressLine
    cancelled: Interrupt


def add_progress_option(parser: argparse.ArgumentParser) -> None:
    """`--progress-json`, for the editors."""
    parser.add_argument(
        "--progress-json",
        action="store_true",
        help="progress as lines of JSON on stderr, also with --quiet: phase, done, total, eta_s",
    )


@contextmanager
def single_job(options: argparse.Namespace, name: str) -> Iterator[SingleJob]:
    """Connect as `--server` says, show progress unless `--quiet`; all of it ends with the block.

    Args:
        options: with `server`, `host` and `quiet`, and `progress_json` if the command has it.
        name: of what is worked on, for the progress line.
    """
    as_json = getattr(options, "progress_json", False)
    with (
        Interrupt() as interrupt,
        ServerAccess(
            options.server,
            host=options.host,
            on_status=lambda text: say(text, quiet=options.quiet),
            should_cancel=interrupt,
        ) as access,
        ProgressLine(name, quiet=options.quiet, as_json=as_json) as line,
    ):
        yield SingleJob(access.connection, line, interrupt)

"""The subcommands of `wallprint`, one module each.

A module has `add_to(subparsers, parents)`, which adds its parser with `run` as a default:
`run(options) -> exit code`. It raises WallprintError for whatever the user should read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from . import (
    demo,
    doctor,
    enhance,
    install,
    models,
    pair,
    plan,
    proof,
    report,
    reproduce,
    save,
    server,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


class Command(Protocol):
    """What a module of this package offers."""

    def add_to(self, subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser], /) -> None:
        """Add the parser."""


COMMANDS: tuple[Command, ...] = (
    enhance,
    plan,
    proof,
    reproduce,
    report,
    save,
    server,
    pair,
    models,
    install,
    doctor,
    demo,
)

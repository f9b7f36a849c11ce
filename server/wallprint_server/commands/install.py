"""`wallprint install|uninstall gimp|krita|systemd` and `wallprint package`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wallprint_protocol.errors import EXIT_DONE, BadInput

from ..install import bundle, plugins, systemd
from ..terminal import tell

if TYPE_CHECKING:
    from . import Subparsers

_SYSTEMD = "systemd"


def add_to(subparsers: Subparsers, parents: Sequence[argparse.ArgumentParser]) -> None:
    """Add the three parsers."""
    for name, text in (
        ("install", "put the plug-in into GIMP or Krita, or the server's units into systemd"),
        ("uninstall", "take it out again"),
    ):
        parser = subparsers.add_parser(name, parents=list(parents), help=text, description=text)
        parser.add_argument(
            "editor", choices=(*plugins.EDITORS, _SYSTEMD), metavar="gimp|krita|systemd"
        )
        parser.add_argument(
            "--path",
            type=Path,
            help="GIMP's plug-ins folder or Krita's resource folder, instead of those found",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.set_defaults(run=run, action=name)
    text = "build wallprint-gimp.zip and wallprint-krita.zip (for Krita's Import Python Plugin)"
    parser = subparsers.add_parser("package", parents=list(parents), help=text, description=text)
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder; default: here")
    parser.set_defaults(run=run_package)


def run(options: argparse.Namespace) -> int:
    """Install or uninstall at every place found."""
    try:
        done = _systemd(options) if options.editor == _SYSTEMD else _plugins(options)
        if options.action == "install" and not options.dry_run:
            done.append(plugins.write_launcher())
    except bundle.SourcesMissing as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        raise BadInput(f"Cannot write {error.filename}: {error.strerror}.") from None
    for line in dict.fromkeys(done):
        tell(line)
    return EXIT_DONE


def _systemd(options: argparse.Namespace) -> list[str]:
    if options.path is not None:
        raise BadInput("systemd looks for units at one place only; leave --path out.")
    if options.action == "install":
        return systemd.install(plugins.launcher(), dry_run=options.dry_run)
    return systemd.uninstall(dry_run=options.dry_run)


def _plugins(options: argparse.Namespace) -> list[str]:
    targets = plugins.find_targets(options.editor)
    if options.path is not None:
        targets = [plugins.target_at(options.editor, options.path.absolute())]
    work = plugins.install if options.action == "install" else plugins.uninstall
    return [line for target in targets for line in work(target, dry_run=options.dry_run)]


def run_package(options: argparse.Namespace) -> int:
    """Build both archives."""
    try:
        for path in plugins.package(options.output):
            tell(f"Wrote {path}.")
    except bundle.SourcesMissing as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        raise BadInput(f"Cannot write {error.filename}: {error.strerror}.") from None
    return EXIT_DONE

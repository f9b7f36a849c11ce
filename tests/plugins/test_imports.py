"""Thin plug-ins: what they may import, and the oldest Python they are read by."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {"numpy", "torch", "zmq", "msgpack", "PIL", "wallprint_server"}
PACKAGES = {
    "plugin_gimp": FORBIDDEN | {"krita", "PyQt5", "PyQt6", "wallprint_krita"},
    "plugin_krita": FORBIDDEN | {"gi", "wallprint_gimp"},
}
FILES = [(package, path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize(("package", "path"), FILES, ids=lambda value: getattr(value, "name", ""))
def test_plug_in_imports_only_protocol_and_its_own_editor(package, path):
    assert not set(imported(path)) & PACKAGES[package]


def test_qt_binding_is_chosen_in_one_file():
    users = {path.name for _, path in FILES if {"PyQt5", "PyQt6"} & set(imported(path))}
    assert users == {"qt.py"}


@pytest.mark.parametrize(
    "path",
    [path for _, path in FILES] + sorted((ROOT / "shared" / "wallprint_protocol").glob("*.py")),
    ids=lambda path: path.name,
)
def test_python_3_9_can_read_it(path):
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]

"""Who may import whom (docs/architecture.md): read from the source, and tried in a process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROTOCOL = ROOT / "shared" / "wallprint_protocol"
SERVER = ROOT / "server" / "wallprint_server"
GIMP = ROOT / "plugin_gimp" / "wallprint-gimp"
KRITA = ROOT / "plugin_krita" / "wallprint_krita"
HEAVY = {"torch", "numpy", "scipy", "pyvips", "PIL", "safetensors", "skimage", "spandrel"}
EDITORS = {"gi", "krita", "PyQt5", "PyQt6", "wallprint_gimp", "wallprint_krita"}
IO_SIDE = (
    "transport",
    "hub",
    "peers",
    "pairing",
    "privacy",
    "workroom",
    "jobs",
    "ledger",
    "spool",
    "link",
    "service",
    "config",
    "raster",
    "host_memory",
)

# (folder or file, what it must not import, files that may all the same)
RULES = [
    (PROTOCOL, HEAVY | EDITORS | {"wallprint_server"}, ()),
    (PROTOCOL, {"msgpack"}, ("wire.py",)),
    (PROTOCOL, {"zmq"}, ("dealer_pyzmq.py",)),
    (SERVER, EDITORS, ()),
    (SERVER, {"zmq"}, ("transport.py",)),
    (SERVER, {"msgpack"}, ()),
    *((SERVER / f"{name}.py", HEAVY, ()) for name in IO_SIDE),
    (SERVER / "pipeline" / "plan.py", {"torch", "zmq"}, ()),
    (SERVER / "models" / "catalog.py", {"torch", "zmq"}, ()),
    (GIMP, HEAVY | {"wallprint_server", "zmq", "msgpack", "krita", "wallprint_krita"}, ()),
    (KRITA, HEAVY | {"wallprint_server", "zmq", "msgpack", "gi", "wallprint_gimp"}, ()),
]


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere, conditional and late imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize(
    ("place", "forbidden", "excepted"),
    RULES,
    ids=[f"{place.relative_to(ROOT)}-{min(forbidden)}" for place, forbidden, _ in RULES],
)
def test_table_of_imports(place, forbidden, excepted):
    files = [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(ROOT)): sorted(imports(path) & forbidden)
        for path in files
        if imports(path) & forbidden and path.name not in excepted
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("wallprint_protocol", {"zmq", "msgpack", "numpy", "torch"}),
        ("wallprint_protocol.client", {"numpy", "torch", "asyncio"}),
        ("wallprint_protocol.request", {"zmq", "msgpack", "numpy", "torch"}),
        ("wallprint_server.service", {"numpy", "torch", "asyncio"}),
        ("wallprint_server.worker", {"zmq", "torch"}),
        ("wallprint_server.pipeline.plan", {"zmq", "torch"}),
        ("wallprint_server.models.catalog", {"zmq", "torch"}),
    ],
)
def test_what_an_import_really_pulls_in(module, forbidden):
    """Also through others: a package's __init__ counts."""
    code = f"import {module}, sys; print(*{sorted(forbidden)!r} & sys.modules.keys())"
    code = code.replace("print(*[", "print(*set([").replace("] & sys", "]) & sys")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_shared_code_is_python_3_9():
    """No syntax that an older editor's Python lacks."""
    for path in PROTOCOL.rglob("*.py"):
        ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
        assert "from __future__ import annotations" in path.read_text("utf-8"), path

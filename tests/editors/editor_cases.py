"""Names of the cases in a script that runs inside an editor."""

from __future__ import annotations

import ast
from pathlib import Path


def case_names(script):
    """Found without importing it: gi and krita exist only in there."""
    tree = ast.parse((Path(__file__).parent / script).read_text())
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name[len("case_") :] for name in functions if name.startswith("case_")]

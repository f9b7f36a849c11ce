"""Inside an editor: runs cases and prints what became of them. Standard library only."""

from __future__ import annotations

import json
import os
import time
import traceback


def report(name, ok, facts, error, seconds):
    case = {"name": name, "ok": ok, "facts": facts, "error": error, "seconds": round(seconds, 2)}
    print("\nCASE " + json.dumps(case), flush=True)


def run_all(cases):
    """Call each `case_*` function; a failing one does not keep the next from running."""
    only = os.environ.get("WALLPRINT_CASES", "").split()
    for function in cases:
        name = function.__name__.removeprefix("case_")
        if only and name not in only:
            continue
        began = time.monotonic()
        try:
            facts = function() or {}
        except BaseException:
            report(name, False, {}, traceback.format_exc(), time.monotonic() - began)
        else:
            report(name, True, facts, "", time.monotonic() - began)

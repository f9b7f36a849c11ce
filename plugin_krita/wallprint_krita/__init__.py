"""Krita plug-in of wallprint: runs in Krita's own Python, without numpy and without pip.

The folder is self-contained: `wallprint_protocol` and msgpack's pure-Python files lie under
`vendor`, put there by `wallprint install krita`.
"""

import sys
from pathlib import Path

_VENDOR = str(Path(__file__).resolve().parent / "vendor")
if _VENDOR not in sys.path:
    sys.path.insert(0, _VENDOR)

from .extension import register  # noqa: E402 - needs the folder above

register()

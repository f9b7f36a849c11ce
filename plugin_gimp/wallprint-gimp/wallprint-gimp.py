#!/usr/bin/env python3
"""Entry point that GIMP 3 starts: registers the two "for print" procedures.

The folder is self-contained: `wallprint_protocol` and msgpack's pure-Python files lie under
`vendor`, put there by `wallprint install gimp`.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "vendor")]

import gi  # noqa: E402

gi.require_version("Gimp", "3.0")
gi.require_version("Gegl", "0.4")
gi.require_version("Babl", "0.1")
from gi.repository import Gimp  # noqa: E402
from wallprint_gimp.plugin import WallprintPlugIn  # noqa: E402

if __name__ == "__main__":
    Gimp.main(WallprintPlugIn.__gtype__, sys.argv)

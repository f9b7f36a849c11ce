"""The bytes of an ICC profile, which Krita's scripting names but does not give.

A picture of one pixel is exported as a TIFF, and the profile read from it.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from krita import InfoObject, Krita

from wallprint_protocol.tiff_file import profile_of

from .pixels import Space


@lru_cache(maxsize=8)
def profile_bytes(space: Space) -> bytes:
    """The profile of a colour space; b"" when Krita does not tell it. In the main thread."""
    document = Krita.instance().createDocument(
        1, 1, "profile", space.model, space.depth, space.profile, 72.0
    )
    if document is None:
        return b""
    document.setBatchmode(True)  # or Krita would ask how
    with tempfile.TemporaryDirectory(prefix="wallprint-") as folder:
        path = Path(folder) / "profile.tif"
        document.exportImage(str(path), InfoObject())
        data = path.read_bytes() if path.is_file() else b""
    document.setModified(False)
    document.close()
    return profile_of(data)

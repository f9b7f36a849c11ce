"""Looks for a print's passport in any picture file, for editors that cannot read its XMP.

It is text, which every format holds as it is, near one end of the file: an XMP element,
or an attribute where another program has written the packet anew.
"""

from __future__ import annotations

import html
import json
import os
import re
from functools import lru_cache
from typing import Any

from .passport import XMP_NAMESPACE, Passport

_PASSPORT = re.compile(
    rb"""<wallprint:Passport>(.*?)</|\bwallprint:Passport=(["'])(.*?)\2""", re.DOTALL
)
_LOOKED_AT_BYTES = 4 << 20  # of either end of a file: metadata stands before or after the pixels


def sharpening_of_file(path: str) -> dict[str, Any] | None:
    """How a picture file was sharpened for paper; None when it is no print of ours."""
    try:
        return _read(path, os.stat(path).st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=8)
def _read(path: str, _changed_ns: int) -> dict[str, Any] | None:
    """A dialog asks again and again; the file is read once."""
    with open(path, "rb") as file:
        parts = [file.read(_LOOKED_AT_BYTES)]
        size = file.seek(0, os.SEEK_END)
        file.seek(max(len(parts[0]), size - _LOOKED_AT_BYTES))
        parts.append(file.read())
    for part in parts:
        begin = part.find(XMP_NAMESPACE.encode())
        found = _PASSPORT.search(part, begin) if begin >= 0 else None
        if found is not None:
            text = html.unescape((found[1] or found[3] or b"").decode("utf-8", "replace"))
            try:
                return Passport.from_map(json.loads(text)).output_sharpening
            except ValueError:
                return None
    return None

"""libvips, set up once for this program: strict about its input, without a memory of past files."""

from __future__ import annotations

import functools
import logging
from typing import Any


@functools.cache
def vips() -> Any:
    """The pyvips module.

    Loaders that libvips itself does not trust with foreign files are blocked. The operation cache
    is off: it finds pictures by file name, and would give back one that has changed since.
    """
    logging.getLogger("pyvips").setLevel(logging.ERROR)  # its warnings are about harmless tags
    import pyvips  # type: ignore[import-untyped]

    pyvips.block_untrusted_set(True)
    pyvips.cache_set_max(0)
    return pyvips

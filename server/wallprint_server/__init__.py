"""The wallprint server: one I/O process that owns the socket, one worker process that owns the GPU."""

from __future__ import annotations

"""The server: an I/O process that owns the socket, a worker process that owns the GPU."""

from __future__ import annotations

"""Network files: catalogue, fetching, loading, running."""

from __future__ import annotations

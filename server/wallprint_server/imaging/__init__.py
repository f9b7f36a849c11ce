"""Bytes to planes and back, colour, tiles, files."""

from __future__ import annotations

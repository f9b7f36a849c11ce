"""The stages, from source pixels to print pixels, tile by tile."""

from __future__ import annotations

"""The formats of `wallprint_protocol.file_formats`, under the name that the encoders know."""

from __future__ import annotations

from wallprint_protocol.file_formats import (
    FORMATS,
    JPEG,
    PDF,
    PNG,
    TIFF,
    Format,
    check_output,
    conversion_notes,
    format_of,
)

__all__ = [
    "FORMATS",
    "JPEG",
    "PDF",
    "PNG",
    "TIFF",
    "Format",
    "check_output",
    "conversion_notes",
    "format_of",
]

"""Sizes that have a name: ISO paper, photo paper and frames, and the user's own.

All are portrait and turn with the picture. The user's own stand in `presets.json` in the
configuration folder, names with sizes as one types them: {"Living room": "60x90cm"}. Knows nothing
of pixels.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .words import Refusal

FILE = "presets.json"
MAX_OWN = 100
MAX_NAME = 40

# ISO 216, mm.
ISO_MM = {
    "A0": (841, 1189), "A1": (594, 841), "A2": (420, 594), "A3": (297, 420), "A4": (210, 297),
    "A5": (148, 210), "A6": (105, 148), "A7": (74, 105), "A8": (52, 74), "A9": (37, 52),
    "A10": (26, 37),
    "B0": (1000, 1414), "B1": (707, 1000), "B2": (500, 707), "B3": (353, 500), "B4": (250, 353),
    "B5": (176, 250), "B6": (125, 176), "B7": (88, 125), "B8": (62, 88), "B9": (44, 62),
    "B10": (31, 44),
}  # fmt: skip

# Photo papers, poster frames and canvases as they are sold.
PHOTO_CM = (
    (9, 13), (10, 15), (13, 18), (15, 20), (18, 24), (20, 25), (20, 30), (21, 30), (24, 30),
    (24, 36), (28, 35), (30, 40), (30, 45), (40, 50), (40, 60), (50, 60), (50, 70), (50, 75),
    (60, 80), (60, 90), (61, 91), (70, 100), (75, 100), (80, 120), (90, 120), (100, 140),
    (100, 150), (120, 180),
)  # fmt: skip
PHOTO_IN = (
    (4, 6), (5, 7), (8, 10), (8, 12), (9, 12), (10, 15), (11, 14), (12, 16), (12, 18), (16, 20),
    (16, 24), (18, 24), (20, 24), (20, 30), (24, 30), (24, 36), (30, 40), (40, 60),
)  # fmt: skip


class PresetsError(Refusal):
    """The file of the user's own sizes cannot be used; the text says what to do now."""


def built_in() -> tuple[str, ...]:
    """Names of all sizes but the user's own, as `print_size.parse_print_size` reads them."""
    return (
        *ISO_MM,
        *(f"{width}x{height}cm" for width, height in PHOTO_CM),
        *(f"{width}x{height}in" for width, height in PHOTO_IN),
    )


def own_file() -> Path:
    """Where the user's own sizes stand; `WALLPRINT_CONFIG_DIR` overrides the folder.

    Inside a Flatpak `XDG_CONFIG_HOME` is the sandbox's own folder, so only
    `HOST_XDG_CONFIG_HOME` is looked at, as with the state directory.
    """
    chosen = os.environ.get("WALLPRINT_CONFIG_DIR")
    if chosen:
        return Path(chosen) / FILE
    if sys.platform == "win32":
        roaming = os.environ.get("APPDATA")
        folder = Path(roaming) if roaming else Path.home() / "AppData" / "Roaming"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        host = os.environ.get("HOST_XDG_CONFIG_HOME")
        folder = Path(host) if host else Path.home() / ".config"
    return folder / "wallprint" / FILE


def own() -> dict[str, str]:
    """The user's own sizes: name -> size as one types it; {} without the file.

    Raises:
        PresetsError: the file cannot be read, or holds something else; names it and the cure.
    """
    path = own_file()
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PresetsError(
            "The file of your own print sizes, {path}, cannot be read ({reason}); "
            'it should look like {{"Living room": "60x90cm"}}.',
            path=path,
            reason=error,
        ) from None
    if (
        not isinstance(values, dict)
        or len(values) > MAX_OWN
        or not all(isinstance(size, str) for size in values.values())
        or any(not 1 <= len(name.strip()) <= MAX_NAME for name in values)
    ):
        raise PresetsError(
            "{path} must hold up to {most} names of up to {letters} letters with a size each, "
            'like {{"Living room": "60x90cm"}}; correct or remove it.',
            path=path,
            most=MAX_OWN,
            letters=MAX_NAME,
        )
    taken = sorted(name for name in values if name.strip().upper() in ISO_MM)
    if taken:
        raise PresetsError(
            "{path} gives the paper size {name} another meaning; rename it.",
            path=path,
            name=taken[0],
        )
    return {name.strip(): size for name, size in values.items()}

"""Where a user's network files live. Standard library only; creates nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_dir() -> Path:
    """The environment's WALLPRINT_DATA_DIR, else the system's folder for a user's data."""
    chosen = os.environ.get("WALLPRINT_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "wallprint"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/wallprint"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "wallprint"


def models_dir() -> Path:
    """Folder of the converted networks."""
    return data_dir() / "models"


def wheels_dir() -> Path:
    """Folder in which wheels are looked for before they are fetched."""
    return data_dir() / "wheels"


def user_models_dir() -> Path:
    """Folder of the networks that the user has added."""
    return data_dir() / "user-models"

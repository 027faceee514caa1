"""Where this user's settings and conversations lie, by the platform's custom. Nothing is made here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NAME = "ftllm-nb"


def config_folder() -> Path | None:
    """The folder of config.toml; None where the user has no home."""
    return _folder("XDG_CONFIG_HOME", ".config", "APPDATA")


def state_folder() -> Path | None:
    """The folder of the questions' history and of the last conversation; None where the user has no home."""
    return _folder("XDG_STATE_HOME", ".local/state", "LOCALAPPDATA")


def _folder(variable: str, default: str, windows_variable: str) -> Path | None:
    base = os.environ.get(windows_variable if os.name == "nt" else variable)
    if base and Path(base).is_absolute():
        return Path(base) / NAME
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / NAME
    return home / default / NAME

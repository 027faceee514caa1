"""The name of the CPU, for reports."""

from __future__ import annotations

import platform
from pathlib import Path

CPU_INFORMATION = Path("/proc/cpuinfo")


def cpu_name(information: Path = CPU_INFORMATION) -> str:
    """The model's name as the system tells it, else the architecture's."""
    try:
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, name = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and name.strip():
            return " ".join(name.split())
    return platform.processor() or platform.machine() or "unknown CPU"

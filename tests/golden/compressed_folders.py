"""Where the models lie that make_compressed.py wrote."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("compressed_tensors")

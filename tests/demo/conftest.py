"""The demo model's scripts, importable by name as they import each other."""

import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "examples" / "demo_model"
sys.path.append(str(SCRIPTS))

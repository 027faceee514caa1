"""The commands of docs/verify.md are ones that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ftllm_nb.cli import build_parser

TEXT = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")


def test_commands() -> None:
    lines = re.findall(r"^ftllm-nb (.*?)(?: +#.*)?$", TEXT, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        assert build_parser().parse_args(shlex.split(line)).command == "verify"

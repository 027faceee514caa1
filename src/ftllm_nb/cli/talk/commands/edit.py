"""write a question in $EDITOR"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.text_file import read_text
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "[TEXT]"


def run(repl: Repl, argument: str) -> None:
    """The text is what the editor begins with; what is saved is asked, nothing where it is left empty."""
    question = edited(argument)
    if not question.strip():
        repl.screen.note("nothing was written, so nothing is asked")
        return
    repl.screen.line(question.rstrip("\n"))
    repl.ask(question.strip("\n"))


def edited(text: str) -> str:
    """What the user made of the text in the editor. Raises `UsageError` where there is none."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="ftllm-nb.") as folder:
        file = Path(folder) / "question.md"
        file.write_text(text, encoding="utf-8", errors="replace")
        try:
            done = subprocess.run([*shlex.split(editor), str(file)], check=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"the editor {editor!r} cannot be run ({error}): set EDITOR to another one.") from None
        if done.returncode != 0:
            raise UsageError(f"the editor {editor!r} ended with status {done.returncode}: nothing is asked.")
        return read_text(str(file))

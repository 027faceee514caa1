"""A session of `ftllm-nb chat` without a terminal."""

from __future__ import annotations

import io
from typing import Any

from ftllm_nb.cli.talk.conversation import Conversation
from ftllm_nb.cli.talk.repl import Repl
from ftllm_nb.cli.talk.screen import Screen
from tests.cli.scripted_chat import ScriptedModel


class Talk:
    """A session whose screen is a text."""

    def __init__(self, model: Any = None) -> None:
        self.out = io.StringIO()
        conversation = Conversation(model or ScriptedModel())
        self.repl = Repl(conversation, "demo", "float32, 2 threads", screen=Screen(self.out))

    def say(self, line: str) -> str:
        """What a line prints."""
        begin = len(self.out.getvalue())
        self.repl.handle(line)
        return self.out.getvalue()[begin:]

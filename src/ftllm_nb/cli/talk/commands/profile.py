"""show where the time of a token goes, by operator"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


def run(repl: Repl, argument: str) -> None:
    """Measures some tokens at the depth of the conversation, and the machine's limits, which takes seconds."""
    from ftllm_nb.benchmark.profile import as_operator_rows, profile_model

    repl.screen.note("measuring for some seconds; Ctrl-C ends it")
    profile = profile_model(repl.conversation.model, max(repl.conversation.context_tokens(), 1))
    repl.screen.line(f"{profile.seconds * 1e3:.2f} ms a token, by operator and how near to the machine's limits:")
    for line in as_operator_rows(profile, repl.screen.columns):
        repl.screen.line(line)

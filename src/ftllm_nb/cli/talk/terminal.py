"""A terminal session: the banner, the prompt, and what its lines do."""

from __future__ import annotations

from ftllm_nb.cli.talk.commands import LeaveRepl
from ftllm_nb.cli.talk.repl import Repl
from ftllm_nb.cli.talk.saved import SavedConversation


def talk_on_terminal(repl: Repl, banner: str, saved: SavedConversation | None = None) -> None:
    """Ask and answer until the user leaves. `saved`: the conversation to go on with."""
    from ftllm_nb.cli.talk.prompt import Prompt, questions

    repl.screen.line(banner)
    if saved is not None:
        repl.restore(saved)
    prompt = Prompt(repl)
    repl.ask_yes_no = prompt.yes
    try:
        for line in questions(prompt):
            repl.handle(line)
    except LeaveRepl:
        return

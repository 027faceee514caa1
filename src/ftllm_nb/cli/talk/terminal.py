"""A terminal session: the banner, the prompt, and what its lines do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ftllm_nb import __version__
from ftllm_nb.cli.talk.commands import LeaveRepl
from ftllm_nb.cli.talk.keyboard import discard_typed
from ftllm_nb.cli.talk.repl import Repl
from ftllm_nb.cli.talk.saved import SavedConversation
from ftllm_nb.cli.talk.screen import Screen


class Prompter(Protocol):
    """What asks the user for a line."""

    def read(self) -> str:
        """What was typed. Raises KeyboardInterrupt for Ctrl-C, EOFError for Ctrl-D."""

    def forget_typed(self) -> None:
        """Throw away what was typed ahead."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was typed when `read` was interrupted."""


def talk_on_terminal(repl: Repl, saved: SavedConversation | None = None) -> None:
    """Ask and answer until the user leaves. `saved`: the conversation to go on with."""
    banner = f"ftllm-nb {__version__}, model {repl.model_name}, {repl.weights}"
    repl.screen.line(repl.screen.wrapped(banner), "bold")
    keys = "/help lists the commands, Ctrl-C stops an answer, /exit or Ctrl-D leaves"
    repl.screen.line(repl.screen.wrapped(keys), "note")
    if saved is not None:
        repl.say_restored(saved)
    prompt: Prompter
    if repl.screen.can_erase:
        from ftllm_nb.cli.talk.prompt import Prompt

        prompt = Prompt(repl)
    else:
        from ftllm_nb.cli.talk.plain_prompt import PlainPrompt

        prompt = PlainPrompt()
    repl.ask_yes_no = lambda question, default: yes(f"{repl.screen.wrapped(question)} ", default)
    repl.forget_typed = prompt.forget_typed
    try:
        for line in questions(prompt, repl.screen):
            repl.handle(line)
    except LeaveRepl:
        return


def questions(prompt: Prompter, screen: Screen) -> Iterator[str]:
    """What the user types, until Ctrl-D. Ctrl-C takes back what was typed, or else says how to leave."""
    while True:
        try:
            yield prompt.read()
        except KeyboardInterrupt:
            if prompt.is_empty:
                screen.note("/exit or Ctrl-D leaves")
        except EOFError:
            return


def yes(question: str, default: bool) -> bool:
    """Ask a question; Enter is the default, Ctrl-C and Ctrl-D are no."""
    discard_typed()  # what was typed before is no answer to a question that nobody had seen
    print(question, end="", flush=True)  # input() would write it to stderr, which may lead elsewhere
    try:
        answer = input()
    except (EOFError, KeyboardInterrupt):
        print()
        return False
    return answer.strip().lower() in (("", "y", "yes") if default else ("y", "yes"))

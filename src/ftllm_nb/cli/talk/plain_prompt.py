"""The prompt on a terminal that can move no cursor (`TERM=dumb`): a line at a time, as the system edits it."""

from __future__ import annotations

from ftllm_nb.cli.talk.keyboard import discard_typed
from ftllm_nb.cli.talk.repl import is_open

PROMPT = "> "
CONTINUATION = "| "


class PlainPrompt:
    """Reads lines; writes no escape sequence."""

    is_empty = True
    """The system does not tell what was typed before Ctrl-C."""

    def read(self) -> str:
        """A line, or the lines between quotes. Raises KeyboardInterrupt for Ctrl-C, EOFError for Ctrl-D."""
        try:
            text = line_after(PROMPT)
            while is_open(text):
                text += "\n" + line_after(CONTINUATION)
        except (KeyboardInterrupt, EOFError):
            print()
            raise
        return text

    def forget_typed(self) -> None:
        """Throw away what was typed ahead."""
        discard_typed()


def line_after(prompt: str) -> str:
    """A line. The prompt is printed here, since input() would write it to stderr, which may lead elsewhere."""
    print(prompt, end="", flush=True)
    return input()

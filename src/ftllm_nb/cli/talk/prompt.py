"""The prompt: editing on prompt_toolkit, with history, suggestions, completion and a toolbar.

A module of its own, since prompt_toolkit takes a while to import: nothing else imports it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.styles import Style

from ftllm_nb.cli.talk.commands import commands
from ftllm_nb.cli.talk.keyboard import discard_typed
from ftllm_nb.cli.talk.repl import is_open
from ftllm_nb.cli.talk.toolbar import toolbar
from ftllm_nb.user_folders import state_folder

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

PROMPT = FormattedText([("class:prompt", "> ")])
CONTINUATION = FormattedText([("class:prompt", "| ")])
GOING_ON = FormattedText([("", "  ")])
"""Before the rest of a line that is longer than the terminal is wide."""
STYLE = Style.from_dict(
    {
        "prompt": "bold ansicyan",
        "bottom-toolbar": "noreverse",
        "bottom-toolbar.text": "noreverse ansibrightblack",
    }
)


class Prompt:
    """Reads what the user types, a question or a command at a time."""

    def __init__(self, repl: Repl) -> None:
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            enable_suspend=True,
            prompt_continuation=lambda width, line, wraps: GOING_ON if wraps else CONTINUATION,
            history=open_history(),
            auto_suggest=AutoSuggestFromHistory(),
            completer=CommandCompleter(repl),
            complete_while_typing=Condition(lambda: self._text.startswith("/")),
            reserve_space_for_menu=6,
            key_bindings=self._keys(),
            bottom_toolbar=lambda: toolbar(repl, repl.screen.columns),
            style=STYLE,
            color_depth=None if repl.screen.colours else ColorDepth.MONOCHROME,
            output=terminal_output(),
        )
        # A resized terminal sends a signal: nobody needs to look twice a second.
        self._session.app.terminal_size_polling_interval = None

    @property
    def _text(self) -> str:
        return self._session.default_buffer.text

    def read(self) -> str:
        """What was typed. Raises KeyboardInterrupt for Ctrl-C, EOFError for Ctrl-D."""
        return self._session.prompt()

    def forget_typed(self) -> None:
        """Throw away what was typed ahead, read already or not."""
        clear_typeahead(self._session.input)
        discard_typed()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was typed when `read` was interrupted."""
        return not self._text

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        is_typing = has_focus(DEFAULT_BUFFER)

        @keys.add("enter", filter=is_typing & Condition(lambda: not is_open(self._text)))
        def send(event: KeyPressEvent) -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter", filter=is_typing)
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("tab", filter=is_typing)
        def complete(event: KeyPressEvent) -> None:
            """Take what is certain, and show what may follow it; go through the menu where several are possible."""
            buffer = event.current_buffer
            state = buffer.complete_state
            if state is None:
                buffer.start_completion(insert_common_part=True)
            elif len(state.completions) == 1:
                buffer.apply_completion(state.completions[0])
                buffer.start_completion()
            else:
                buffer.complete_next()

        return keys


class CommandCompleter(Completer):
    """Completes slash commands, their arguments and the names of files."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the text before the cursor may become."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, argument = text[1:].partition(" ")
        if not space:
            for command in commands().values():
                if command.name.startswith(name):
                    typed = f"{command.name} " if command.argument else command.name
                    yield Completion(typed, -len(name), display=command.usage, display_meta=command.summary)
            return
        known = commands().get(name)
        if known is None:
            return
        if known.takes_file:
            for path in self._paths.get_completions(Document(argument), complete_event):
                slash = "/" if path.display_text.endswith("/") else ""
                yield Completion(path.text + slash, path.start_position, display=path.display)
        elif known.complete is not None:
            for each in known.complete(self._repl, argument):
                yield Completion(each, -len(argument))


class PrivateFileHistory(FileHistory):
    """Questions in a file that only its user may read. A file that cannot be written is no error."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
        super().__init__(str(file))

    def store_string(self, string: str) -> None:
        """Append a question."""
        try:
            super().store_string(string.encode("utf-8", "replace").decode())
        except OSError:
            return


def open_history() -> History:
    """The questions of earlier sessions; of this one alone where the file cannot be used."""
    folder = state_folder()
    if folder is not None:
        try:
            return PrivateFileHistory(folder / "history")
        except OSError:
            pass
    return InMemoryHistory()


def terminal_output() -> Output | None:
    """The terminal, drawn without asking it for the cursor's position.

    Its reply could arrive while an answer is made, and some terminals never reply. None: prompt_toolkit's choice.
    """
    output = create_output(sys.stdout)
    if type(output).__name__ == "Vt100_Output":
        setattr(output, "get_rows_below_cursor_position", lambda: 1)  # noqa: B010 (a method, for this terminal alone)
    return output


"""Talking on a terminal: questions, slash commands, and answers that appear as they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ftllm_nb.cli.talk.answer_view import AnswerView
from ftllm_nb.cli.talk.commands import LeaveRepl, run_command
from ftllm_nb.cli.talk.conversation import Conversation, Turn
from ftllm_nb.cli.talk.interrupt import interrupt_stops
from ftllm_nb.cli.talk.keyboard import without_echo
from ftllm_nb.cli.talk.last_conversation import remember
from ftllm_nb.cli.talk.prefill_bar import PrefillBar
from ftllm_nb.cli.talk.saved import SavedConversation
from ftllm_nb.cli.talk.screen import Screen
from ftllm_nb.cli.talk.thinking import split_answer
from ftllm_nb.cli.talk.waiting import Waiting
from ftllm_nb.errors import ContextLengthError, FtllmError

WORDS = {
    "clear": "/clear",
    **dict.fromkeys(("stop", "exit", "exit()", "quit", "quit()", ":q", ":q!", ":wq"), "/exit"),
    **dict.fromkeys(("help", "?"), "/help"),
}
"""Words of fastllm and of other programs, which mean commands when they stand alone."""
QUOTES = '"""'


class Repl:
    """What a terminal session is: a conversation, how it is shown, and what commands may change.

    `model_name`: as the user named the model. `weights`: their type. `origins`: who gave each of the conversation's
    settings, by its name. `ask_yes_no(question, default)` asks the
    user, None where nobody can be asked. `forget_typed` throws away what was typed and not read yet.

    `written`: the files that commands wrote, as they were then. `kept_turns`: the turns that a file holds.
    """

    def __init__(
        self,
        conversation: Conversation,
        model_name: str,
        weights: str,
        *,
        screen: Screen | None = None,
        markdown: bool = True,
        hide_thinking: bool = False,
        origins: dict[str, str] | None = None,
        ask_yes_no: Callable[[str, bool], bool] | None = None,
    ) -> None:
        self.conversation = conversation
        self.model_name = model_name
        self.weights = weights
        self.screen = screen or Screen()
        self.markdown = markdown
        self.hide_thinking = hide_thinking
        self.origins = dict(origins or {})
        self.ask_yes_no = ask_yes_no
        self.forget_typed: Callable[[], None] = lambda: None
        self.waiting: list[Waiting] = []
        self.written: dict[str, tuple[int, int, int]] = {}
        self.kept_turns: list[Turn] = []
        self.warnings: list[str] = []
        """Sentences that came while something else was printed, and are to be shown after it."""
        self._was_held = False

    def handle(self, line: str) -> None:
        """Do what a line says. Raises `LeaveRepl`; every other failure is reported, and the session goes on."""
        line = WORDS.get(line.strip().lower(), line)
        try:
            if is_command(line):
                run_command(self, line)
            elif line.strip():
                self.ask(unquoted(line))
        except FtllmError as error:
            self.screen.error(str(error))
        except KeyboardInterrupt:
            self.forget_typed()
            self.screen.note("stopped")
        except (LeaveRepl, OSError):
            raise
        except MemoryError:
            self.screen.error("there is not enough memory for this: shorten the conversation.")
        except Exception as error:
            self.screen.error(f"unexpected {type(error).__name__}: {error} (a defect of ftllm-nb).")

    def ask(self, question: str) -> None:
        """Ask, with what `/read` read before the question."""
        question = "\n\n".join([*(each.text for each in self.waiting), question])
        turns = self.conversation.turns
        self._answer(lambda: self.conversation.ask(question), question)
        if self.conversation.turns is not turns:
            self.waiting.clear()

    def answer_again(self) -> None:
        """Ask the last question again."""
        self._answer(self.conversation.ask_again, None)

    def _answer(self, start: Callable[[], Iterator[str]], question: str | None) -> None:
        """Show an answer. Where the context is full, offer to drop the oldest turns, and ask then."""
        try:
            self._show(start())
        except ContextLengthError as error:
            dropped = self.conversation.turns_to_drop(question)
            if not dropped:
                self._say_too_long(error)
                return
            what = "turn" if dropped == 1 else f"{dropped} turns"
            self.screen.note(str(error).rstrip("."))
            drop = f"The context is full. Drop the oldest {what} and ask again? [Y/n]"
            if self.ask_yes_no is not None and self.ask_yes_no(drop, True):
                self.conversation.drop_oldest(dropped)
                self._show(start())
            else:
                self.screen.note("not asked: the Up key brings the question back")

    def _say_too_long(self, error: ContextLengthError) -> None:
        """A question that even alone does not fit; what was read for it is put away, so that the next one may."""
        self.screen.error(str(error).replace(", or begin a new conversation", ""))
        if self.waiting:
            self.waiting.clear()
            self.screen.note("what /read read is put away again")

    def _show(self, pieces: Iterator[str]) -> None:
        """Print the answer as it is made. The first Ctrl-C ends it; the session goes on."""
        conversation, screen = self.conversation, self.screen
        view = self._view()
        before = conversation.turns
        first = None
        bar = PrefillBar(lambda: conversation.model.stats, screen.replace_line, lambda: screen.columns)
        try:
            quiet = without_echo(as_keys=screen.can_erase, suspends=True)
            with quiet, interrupt_stops(conversation, self.forget_typed):
                with bar:
                    first = next(pieces, None)
                if first is not None:
                    view.show(first)
                    for piece in pieces:
                        view.show(piece)
        except FtllmError:
            view.finish()
            if first is not None:
                screen.line()
            raise
        except KeyboardInterrupt:
            conversation.stopped = True
        view.finish()
        if conversation.stopped:
            screen.write(" (stopped)", "note")
        screen.line()
        if conversation.turns is not before:
            self._say_how_it_ended(conversation.turns[-1])
        while self.warnings:
            screen.note(self.warnings.pop(0))
        self.remember()

    def _view(self) -> AnswerView:
        return AnswerView(
            self.screen,
            markdown=self.markdown,
            hide_thinking=self.hide_thinking,
        )

    def _say_how_it_ended(self, turn: Turn) -> None:
        """What the user should know of an answer that the model did not end by itself."""
        last, limit = turn.statistics, self.conversation.model.get_max_input_len()
        thought, text = split_answer(turn.answer)
        if self.hide_thinking and thought and not text:
            self.screen.note("the answer ended while the model was thinking: /set think show lets that be seen")
        if last is not None and last.finish_reason == "loop":
            self.screen.note("ended, since the answer only repeated itself: /regen answers again, and "
                             "/set repeat_penalty 1.1 makes repetition less likely")  # fmt: skip
        if last is not None and last.finish_reason == "length" and last.context_tokens > limit:
            self.screen.note(f"the context of {limit} tokens is full: /undo or /clear make room, "
                             "and the next question offers to drop the oldest turns")  # fmt: skip

    def remember(self) -> None:
        """Keep the conversation for `--continue`; one that never had a turn does not replace what is kept."""
        self._was_held = self._was_held or bool(self.conversation.turns)
        if self._was_held:
            remember(self.conversation, self.model_name)

    def restore(self, saved: SavedConversation) -> None:
        """Go on with a saved conversation, and say where it stands."""
        saved.restore(self.conversation)
        self.origins = dict.fromkeys(saved.settings, "the saved conversation")
        self.say_restored(saved)

    def say_restored(self, saved: SavedConversation) -> None:
        """Say where the conversation stands, which goes on from a saved one."""
        self._was_held = True
        self.remember()
        turns = len(saved.turns)
        after = f"after {turns} {'turn' if turns == 1 else 'turns'}" if turns else "with the settings: no turn is kept"
        self.screen.note(f"going on {after}")
        if saved.model is not None and saved.model != self.model_name:
            self.screen.note(f"it was held with {saved.model}, and goes on with {self.model_name}")
        if saved.turns:
            last = saved.turns[-1]
            self.screen.write("> ", "prompt")
            self.screen.line(last.question)
            view = self._view()
            view.show(last.answer)
            view.finish()
            self.screen.line()


def is_command(line: str) -> bool:
    """Whether a line is a slash command, and no path or division that a question begins with."""
    word = line.strip().split(" ", 1)[0]
    name = word[1:].removesuffix("!").replace("_", "")
    return word.startswith("/") and "\n" not in line.strip() and (name == "?" or name.isalpha())


def unquoted(line: str) -> str:
    """A question without the quotes around its lines."""
    text = line.strip()
    if not text.startswith(QUOTES):
        return line
    return text[len(QUOTES) :].removesuffix(QUOTES).strip("\n")


def is_open(text: str) -> bool:
    """Whether quotes were opened and not closed, so that more lines belong to the question."""
    stripped = text.strip()
    return stripped.startswith(QUOTES) and not (
        len(stripped) >= 2 * len(QUOTES) and stripped.endswith(QUOTES)
    )

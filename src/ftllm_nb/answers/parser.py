"""From the text of an answer, piece by piece, to its events."""

from __future__ import annotations

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.events import Content, Event, merged
from ftllm_nb.answers.family import Family, Thinking
from ftllm_nb.answers.reader import Reader, Steps
from ftllm_nb.answers.tags import Tags


class AnswerParser:
    """Reads one answer. All pieces together give the same events, however the answer is cut into pieces.

    `functions`: those that may be called; `opened`: the prompt ended inside of this thinking; `given`: what the prompt
    holds of the answer already, which is a call in the family's form (see `Family.form`), None for an answer that is
    free.
    """

    def __init__(
        self,
        family: Family,
        tags: Tags,
        functions: Functions | None = None,
        opened: Thinking | None = None,
        given: str | None = None,
    ) -> None:
        self._reader = Reader(tags, given or "")
        self._steps = self._whole(family, functions or {}, opened, given is not None)

    @property
    def is_thinking(self) -> bool:
        """Whether what comes next is thinking, as far as that is known."""
        return self._reader.is_thinking

    def push(self, text: str) -> list[Event]:
        """What a piece of text makes certain; tags that are tokens are marks in it (see `MarkingDecoder`)."""
        self._reader.text += text
        return self._go_on()

    def finish(self, is_cut: bool) -> list[Event]:
        """What is left when nothing more comes. `is_cut`: since the answer was cut, so that what is open stays open."""
        self._reader.ended, self._reader.is_cut = True, is_cut
        return self._go_on()

    def _whole(self, family: Family, functions: Functions, opened: Thinking | None, is_forced: bool) -> Steps[None]:
        reader = self._reader
        if is_forced:
            yield from family.forced(reader, functions)
        else:
            yield from family.answer(reader, functions, opened)
        yield from reader.until(kind=Content)

    def _go_on(self) -> list[Event]:
        events: list[Event] = []
        for event in self._steps:
            if event is None:
                break
            events.append(event)
        return merged(events)

"""A conversation without a terminal: turns, system prompt and settings, and the next answer as a stream of text."""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftllm_nb.answers.history import with_reasoning
from ftllm_nb.cli.sampling_arguments import MODEL_SAMPLING, engine_settings, engine_sources, stream_options
from ftllm_nb.cli.talk.statistics import TurnStatistics, turn_statistics
from ftllm_nb.cli.talk.thinking import as_text, split_answer
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.engine.sampling_settings import SamplingSettings
    from ftllm_nb.llm import Model

REPLACEMENT = "\ufffd"
ROOM_FOR_ANSWER = 0.25
"""Share of the context that is kept free when old turns are dropped."""


@dataclass(frozen=True)
class Turn:
    """A question and its answer, whole or as far as it went."""

    question: str
    answer: str
    statistics: TurnStatistics | None = None


class Conversation:
    """Asks the model with everything said before.

    `system`: the system message, or None for the chat template's own. `settings`: how to sample, by the names of
    the flags of `ftllm-nb chat`; what is missing is the model's own. `enable_thinking`: what the chat template is
    told, None for nothing. `stopped` says that `stop` was called; who asks clears it before.

    What the model's cache holds of the conversation's beginning is not computed again: after a turn, but also after
    `undo`, `ask_again` and `drop_oldest`, as far as the prompts begin alike.
    """

    def __init__(
        self,
        model: Model,
        system: str | None = None,
        settings: dict[str, Any] | None = None,
        enable_thinking: bool | None = None,
    ) -> None:
        self.model = model
        self.system = None if system is None else replace_undecoded(system)
        self.settings = dict(settings or {})
        self.enable_thinking = enable_thinking
        self.turns: list[Turn] = []
        self.stopped = False

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation as chat messages."""
        return self._messages(self.turns)

    def _messages(self, turns: list[Turn]) -> list[dict[str, str]]:
        messages = [] if self.system is None else [{"role": "system", "content": self.system}]
        for turn in turns:
            messages.append({"role": "user", "content": turn.question})
            thought, text = split_answer(turn.answer)
            answer = {"role": "assistant", "content": text}
            messages.append(with_reasoning(answer, thought, self.model.tokenizer.template_source))
        return messages

    def ask(self, question: str) -> Iterator[str]:
        """The answer, piece by piece; `stop` ends it early.

        The turn becomes part of the conversation when the answer ends, and when it is stopped after its first
        words; not where the model could not answer: an error leaves the conversation as it was.
        """
        yield from self._answer(self.turns, replace_undecoded(question))

    def ask_again(self) -> Iterator[str]:
        """Another answer to the last question, in place of the last turn. Raises `UsageError` without a turn."""
        yield from self._answer(self.turns[:-1], self._last_turn().question)

    def _answer(self, earlier: list[Turn], question: str) -> Iterator[str]:
        messages = [*self._messages(earlier), {"role": "user", "content": question}]
        started = time.perf_counter()
        first_after: float | None = None
        answer = held = ""
        with closing(self._stream(messages)) as pieces:
            while not self.stopped and (piece := next(pieces, None)) is not None:
                if first_after is None:
                    first_after = time.perf_counter() - started
                # Half a character may end an answer that is cut short; it stays back until more comes.
                text = held + piece
                whole = text.rstrip(REPLACEMENT)
                held = text[len(whole) :]
                if whole:
                    answer += whole
                    yield whole
        stats = self.model.stats
        if held and stats is not None and stats.finish_reason == "stop":
            answer += held
            yield held
        if answer or not self.stopped:
            statistics = None
            if stats is not None:
                statistics = turn_statistics(stats, first_after, time.perf_counter() - started)
            self.turns = [*earlier, Turn(question, answer, statistics)]

    def _stream(self, messages: list[dict[str, str]]) -> Any:
        thinking = {} if self.enable_thinking is None else {"enable_thinking": self.enable_thinking}
        options = {**MODEL_SAMPLING, **stream_options(self.settings), **thinking}
        return as_text(self.model.stream_events(messages, **options))

    def sampling(self) -> SamplingSettings:
        """How the next answer's tokens are chosen: by the settings, and by the model's where there are none."""
        return engine_settings(self.model.loaded.graph.generation_config, self.settings)

    def sampling_sources(self) -> dict[str, str]:
        """Whose each value of `sampling` is, as engine/sampling_settings.py calls it, by the settings' own names."""
        return engine_sources(self.model.loaded.graph.generation_config, self.settings)

    @property
    def template_knows_thinking(self) -> bool:
        """Whether the chat template has a switch for thinking, so that `enable_thinking` does something."""
        switch = r"\benable_thinking\b|(?<![.\w'\"])thinking\b(?!['\"])"
        return re.search(switch, self.model.tokenizer.template_source) is not None

    def stop(self) -> None:
        """End the running answer soon; callable from a signal handler."""
        self.stopped = True
        self.model.stop()

    def undo(self) -> Turn:
        """Take the last turn back, and return it. Raises `UsageError` without one."""
        last = self._last_turn()
        self.turns = self.turns[:-1]
        return last

    def _last_turn(self) -> Turn:
        if not self.turns:
            raise UsageError("the conversation has no turn yet.")
        return self.turns[-1]

    def forget(self) -> None:
        """Start anew, and give back the memory that the conversation's keys and values take."""
        self.turns = []
        self.model.forget()

    def drop_oldest(self, count: int) -> None:
        """Take the first `count` turns out of the conversation."""
        self.turns = self.turns[count:]

    def turns_to_drop(self, question: str | None = None) -> int | None:
        """The fewest oldest turns without which the question, and an answer, fit the context.

        None where the question alone does not. `question` None: the last turn's, as `ask_again` asks it.
        """
        earlier = self.turns if question is not None else self.turns[:-1]
        asked = self._last_turn().question if question is None else replace_undecoded(question)
        limit = self.model.get_max_input_len()

        def fits(dropped: int) -> bool:
            messages = [*self._messages(earlier[dropped:]), {"role": "user", "content": asked}]
            # A question that is asked alone gets what room there is.
            room = limit if dropped == len(earlier) else int(limit * (1 - ROOM_FOR_ANSWER))
            return self.model.get_input_token_len(messages) <= room

        dropped = bisect_left(range(len(earlier) + 1), True, key=fits)
        return dropped if dropped <= len(earlier) else None

    def context_tokens(self) -> int:
        """Tokens that the conversation takes of the context."""
        if not self.turns:
            return 0
        statistics = self.turns[-1].statistics
        if statistics is not None:
            return statistics.context_tokens
        return self.model.get_input_token_len(self.messages)


def replace_undecoded(text: str) -> str:
    """The text with U+FFFD in place of lone surrogates, as which Python keeps bytes that are no UTF-8."""
    return re.sub("[\ud800-\udfff]", REPLACEMENT, text)

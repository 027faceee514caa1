"""A model's answer as events: thinking apart from content."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ftllm_nb.llm.requests import History, Query, Request

if TYPE_CHECKING:
    from ftllm_nb.answers.events import Event
    from ftllm_nb.answers.style import AnswerStyle
    from ftllm_nb.engine.generation import GenerationTask


def request_of(query: Query, history: History | None, settings: dict[str, Any]) -> Request:
    """A request whose other settings are the model's own."""
    unset = dict.fromkeys((each.name for each in fields(Request)), None)
    return Request(**{**unset, "query": query, "history": history, "add_generation_prompt": True, **settings})


def events_of(
    token_ids: Generator[int, None, None], task: GenerationTask, style: AnswerStyle, prompt_ids: Sequence[int]
) -> Generator[Event, None, None]:
    """The events of token ids as they come; half a character where the answer was stopped is left out."""
    parser, decoder = style.parser(opened=style.opened_thinking(prompt_ids)), style.decoder()
    with closing(token_ids):
        for token_id in token_ids:
            yield from parser.push(decoder.push(token_id))
    if task.stats.finish_reason != "stopped":
        yield from parser.push(decoder.finish())
    yield from parser.finish(is_cut=task.stats.finish_reason != "stop")

"""`python -m tests.cli.scripted_chat FLAG …`: `ftllm-nb chat` with a model whose answers are known.

What the model answers to a message:
    count     the numbers from 0 on, one each 10 ms, until it is stopped
    control   a text with an escape sequence
    control c1  the same with characters that JSON may hold as they are
    fail      a word, then an EngineError
    options   the keyword arguments of stream_events
    pause     two words, a second apart
    slow      nothing, but its prefill goes on until it is stopped
    think     a thought, then a word
    only thinking  a thought that is cut
    wide      wide, joined and right-to-left characters
    loop      words that end, since they are repeated
    markdown  a heading, a line with code and emphasis, a code block
    half      a word and half a character, cut short
    else      the number of messages so far and the message
Messages of more than 100 characters are too long. A token is a character. `demo` is the only model that there is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

from ftllm_nb import llm
from ftllm_nb.answers.events import Content, Event
from ftllm_nb.cli import main
from ftllm_nb.engine.generation import GenerationStats
from ftllm_nb.errors import CheckpointError, ContextLengthError, EngineError


class ScriptedModel:
    """Stands for `llm.Model`; `closed`, `forgotten` and `stopped` tell what was asked of it."""

    threads = 2
    weight_dtype = "float32"
    tokenizer = SimpleNamespace(template_source=os.environ.get("SCRIPTED_TEMPLATE", "{{ enable_thinking }}"))
    loaded = SimpleNamespace(
        graph=SimpleNamespace(generation_config={"top_p": 0.9}), tell_by=lambda tell: None
    )
    context = int(os.environ.get("SCRIPTED_CONTEXT", 100_000))

    def __init__(self) -> None:
        self.stopped = self.closed = False
        self.stats: GenerationStats | None = None
        self.forgotten = 0
        self.queries: list[list[dict[str, str]]] = []

    def stream_events(self, query: list[dict[str, str]], **options: Any) -> Generator[Event, None, None]:
        self.queries.append(query)
        message = query[-1]["content"]
        if len(message) > 100:
            raise ContextLengthError(f"The prompt has {len(message)} tokens, but the context holds 100.")
        if self.get_input_token_len(query) > self.context:
            raise ContextLengthError("The conversation is too long.")
        return self.contents(self.counted(self.answer(message, len(query), options), query))

    def contents(self, pieces: Generator[str, None, None]) -> Generator[Event, None, None]:
        with closing(pieces):
            for piece in pieces:
                yield Content(piece, 0, 0)

    def counted(self, pieces: Iterator[str], query: list[dict[str, str]]) -> Generator[str, None, None]:
        """The pieces, with statistics as the engine keeps them."""
        stats = GenerationStats(prompt_tokens=self.get_input_token_len(query))
        stats.reused_tokens = self.get_input_token_len(query[:-1])
        stats.prefill_tokens = stats.prompt_tokens - stats.reused_tokens - (query[-1]["content"] == "slow")
        stats.prefill_seconds = 0.5
        self.stats = stats
        for piece in pieces:
            stats.answer_tokens += len(piece)
            stats.decode_tokens, stats.decode_seconds = stats.answer_tokens - 1, (stats.answer_tokens - 1) / 16
            yield piece
        ends = {"half": "length", "loop": "loop"}
        stats.finish_reason = "stopped" if self.stopped else ends.get(query[-1]["content"], "stop")

    def answer(self, message: str, length: int, options: dict[str, Any]) -> Generator[str, None, None]:
        self.stopped = False
        if message == "count":
            number = 0
            while not self.stopped:
                yield f"{number} "
                number += 1
                time.sleep(0.01)
        elif message == "control":
            yield "a\x1b[2Jb\n\tc"
        elif message == "control c1":
            yield f"{length} control c1 \x9b\x7f"
        elif message == "pause":
            yield "before "
            time.sleep(1)
            yield "after"
        elif message == "fail":
            yield "well"
            raise EngineError("The step failed.")
        elif message == "options":
            yield str(sorted((name, value) for name, value in options.items() if value is not None))
        elif message == "slow":
            while not self.stopped:
                time.sleep(0.01)
        elif message == "think":
            yield from ("<th", "ink>hm", "</thi", "nk>\n\n", "so")
        elif message == "only thinking":
            yield "<think>hm"
        elif message == "wide":
            yield from ("你好 ", "\U0001f468\u200d\U0001f469\u200d\U0001f467 ", "שלום ", "e\u0301")
        elif message == "markdown":
            yield from ("# He", "ading\n", "a `code` and **bo", "ld** text\n``", "`python\nx = 1\n```\nend")
        elif message == "half":
            yield "well"
            yield "\ufffd"
        else:
            yield f"{length} "
            yield message

    def stop(self) -> None:
        self.stopped = True

    def get_input_token_len(self, query: str | list[dict[str, str]]) -> int:
        return len(query) if isinstance(query, str) else sum(len(message["content"]) for message in query)

    def get_max_input_len(self) -> int:
        return self.context

    def forget(self) -> None:
        self.forgotten += 1

    def close(self) -> None:
        self.closed = True


def scripted_load(
    path: str, *, progress: Callable[[str, int, int], None], warn: Callable[[str], None], **options: Any
) -> ScriptedModel:
    """Stands for `llm.model`."""
    if path != "demo":
        raise CheckpointError(f"{path}: no such folder.")
    if options["atype"] != "auto":
        warn("intermediates stay float32.")
    for done in range(5):
        progress("loading", done, 5)
        time.sleep(float(os.environ.get("SCRIPTED_LOADING", 0)) / 5)
    return ScriptedModel()


if __name__ == "__main__":
    llm.model = scripted_load  # type: ignore[assignment]
    sys.exit(main(["chat", *sys.argv[1:]]))

"""A model's answer as text, piece by piece."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.engine.generation import GenerationTask
    from ftllm_nb.tokenizer import Tokenizer


def text_of(
    token_ids: Generator[int, None, None], task: GenerationTask, tokenizer: Tokenizer, one_by_one: bool
) -> Generator[str, None, None]:
    """The text of token ids as they come: new pieces, or all text so far each time.

    Half a character where the answer was stopped is left out.
    """
    decoder = tokenizer.stream_decoder()
    text = ""
    with closing(token_ids):
        for token_id in token_ids:
            piece = decoder.push(token_id)
            if piece:
                text += piece
                yield piece if one_by_one else text
    if (piece := decoder.finish()) and task.stats.finish_reason != "stopped":
        yield piece if one_by_one else text + piece

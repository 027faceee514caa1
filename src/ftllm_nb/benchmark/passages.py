"""What a model is judged on: token ids that it reads, and those among them that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import UsageError

LARGEST_WINDOW = 2048
"""Tokens of a window where nobody says how many: what papers on quantization use."""


@dataclass(frozen=True)
class Passage:
    """Token ids that are read from an empty cache. Those before `first`, at least one, are context and do not count."""

    token_ids: NDArray[np.int32]
    first: int = 1

    @property
    def num_judged(self) -> int:
        """How many tokens count."""
        return len(self.token_ids) - self.first


def windows(token_ids: Sequence[int], window: int, stride: int, beginning: Sequence[int] = ()) -> list[Passage]:
    """A text as windows of at most `window` tokens, each begun `stride` after the one before.

    As transformers' guide to the perplexity of models of a fixed length does it: a window's tokens that an earlier
    window judged are context, the very first token is never judged, and neither is the first of a window that nothing
    stands before, which is where the stride is the window. The last window ends with the text and may be shorter.

    `beginning`: what the model's sequences begin with, as its texts in training did. It takes the place of the first
    tokens of all windows but the first, which has it from the tokenizer, as llama.cpp does: a model such as Gemma
    predicts next to nothing of a text that begins otherwise.
    """
    ids = np.array(token_ids, np.int32)
    passages = []
    judged = begin = 0
    while judged < len(ids):
        end = min(begin + window, len(ids))
        here, first = ids[begin:end], max(judged - begin, 1)
        if begin > 0 and beginning:
            here, first = here.copy(), max(first, len(beginning))
            here[: len(beginning)] = beginning[: len(here)]
        passage = Passage(here, first)
        if passage.num_judged > 0:
            passages.append(passage)
        judged, begin = end, begin + stride
    return passages


def chosen_windows(
    token_ids: Sequence[int], window: int | None, stride: int | None, max_positions: int, where: str
) -> tuple[int, int]:
    """(window, stride) as asked for, or where None: the context, a text or `LARGEST_WINDOW`, whatever is shortest, and
    half the window. Raises `UsageError` where the text, called `where`, or the context does not allow them.
    """
    if len(token_ids) < 2:
        raise UsageError(f"{where} is one token long, and the first token is never judged: name a longer text.")
    if window is not None and window > max_positions:
        raise UsageError(f"a window of {window} tokens does not fit the model's context of {max_positions}.")
    if window is not None and window > len(token_ids):
        raise UsageError(
            f"{where} has {len(token_ids)} tokens, less than a window of {window}: give a longer text or a smaller "
            "--window."
        )
    window = min(LARGEST_WINDOW, max_positions, len(token_ids)) if window is None else window
    if window < 2:
        raise UsageError("a window needs two tokens at least: one to read, and one to judge.")
    if stride is not None and stride > window:
        raise UsageError(f"a stride of {stride} tokens would leave some out between windows of {window}.")
    return window, max(1, window // 2) if stride is None else stride

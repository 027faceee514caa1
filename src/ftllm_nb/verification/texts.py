"""The tokens that both read: some sentences, and tokens by chance; longer than windows, where those are short."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine_options import Warn
from ftllm_nb.errors import ContextLengthError, FtllmError, UsageError
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.tokenizer import choose_tokenizer

TOKENS, DECODED = 40, 8
"""Of each text: so many in all, and so many of them one by one."""
LONGEST = 160
"""A window that is longer makes no text longer."""
SENTENCES = (
    "The capital of France is Paris, which lies on the river Seine. The largest city of Japan is Tokyo, and 17 + 25 = "
    "42. In Python, `def f(x): return x * 2` doubles a number; 今天天气很好。"
)


def texts_of(
    checkpoint: Checkpoint, graph: CheckedGraph, prompts: Sequence[str], longest: int | None, warn: Warn
) -> list[NDArray[np.int32]]:
    """int32 [tokens] each. `longest`: the longest that the reference takes, where that is known."""
    most = min(graph.max_positions, longest or graph.max_positions)
    if prompts:
        return [_tokens_of(checkpoint, graph, prompt, most, warn) for prompt in prompts]
    length = min(most, _length(graph, warn))
    by_chance = np.random.default_rng(7).integers(0, graph.vocab_size, length).astype(np.int32)
    try:
        sentences = np.asarray(_encode(checkpoint, graph, SENTENCES, lambda sentence: None), np.int32)[:length]
    except FtllmError:
        sentences = np.random.default_rng(8).integers(0, graph.vocab_size, length).astype(np.int32)
    return [each for each in (sentences, by_chance) if len(each) > 1]


def prefill_of(texts: Sequence[NDArray[np.int32]]) -> int:
    """How many tokens of each text are read at once."""
    shortest = min(map(len, texts))
    return max(1, shortest - DECODED)


def _length(graph: CheckedGraph, warn: Warn) -> int:
    """Longer than the windows, where those are short."""
    windows = {int(node.attributes.get(name, 0)) for node in graph.nodes for name in ("window", "chunk")}
    windows |= {number for name in ("sliding_window", "attention_chunk_size")
                if isinstance(number := dict.get(graph.config, name), int)}  # fmt: skip
    short = [window for window in windows if 0 < window <= LONGEST]
    if any(window > LONGEST for window in windows):
        warn(
            f"the window of {max(windows)} positions is longer than the texts: whether it is right is not seen. A "
            "--prompt that is longer shows it."
        )
    return max([TOKENS, *(window + DECODED + 8 for window in short)])


def _tokens_of(
    checkpoint: Checkpoint, graph: CheckedGraph, prompt: str, most: int, warn: Warn
) -> NDArray[np.int32]:
    ids = _encode(checkpoint, graph, prompt, warn)
    if not ids:
        raise UsageError("the prompt is empty: give --prompt a text.")
    if len(ids) > most:
        raise ContextLengthError(f"the prompt has {len(ids)} tokens, and the model's context holds {most}: shorten it.")
    if max(ids) >= graph.vocab_size:
        raise UsageError(
            f"the prompt has the token {max(ids)}, and the model's vocabulary {graph.vocab_size} tokens: the tokenizer "
            "is another model's."
        )
    return np.asarray(ids, np.int32)


def _encode(checkpoint: Checkpoint, graph: CheckedGraph, text: str, warn: Warn) -> list[int]:
    tokenizer = choose_tokenizer(
        checkpoint.path,
        graph.tokenizer_config,
        graph.config,
        graph.generation_config,
        metadata=checkpoint.tokenizer_metadata,
        embedding_rows=graph.vocab_size,
        warn=warn,
    )
    return tokenizer.encode_text(text)

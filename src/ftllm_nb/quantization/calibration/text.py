"""Windows of tokens to calibrate with: from a file, or from text that comes with the package."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ftllm_nb
from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.tokenizer import Tokenizer, choose_tokenizer
from ftllm_nb.tokenizer.text_file import read_text

BUILTIN = "builtin"
"""What stands for the text of the package in place of a file: see `builtin_text`."""
WINDOW = 512
"""Tokens that are read as one sequence."""
LEAST_WINDOWS = 2
DEFAULT_TOKENS = 64 * WINDOW
CHARACTERS_A_TOKEN = 8
"""More than any tokenizer makes of a text in a language that it was made for: so many are cut out for a window."""
MOST_TOKENS_A_CHARACTER = 1.5
"""From here on a tokenizer spells bytes, since it does not know the text's language."""
SHORTEST_DOCSTRING = 200

Tokens = NDArray[np.int32]


def read_windows(
    checkpoint: Checkpoint, graph: CheckedGraph, source: str | None, tokens: int | None
) -> tuple[list[Tokens], list[str]]:
    """What a model is calibrated with, and sentences on what is doubtful about it. `source`: a file or "builtin", which
    None means, too; `tokens`: about how many."""
    doubts: list[str] = []
    tokenizer = choose_tokenizer(
        checkpoint.path, graph.tokenizer_config, graph.config, graph.generation_config,
        metadata=checkpoint.tokenizer_metadata, embedding_rows=graph.vocab_size, warn=doubts.append,
    )  # fmt: skip
    source = source or BUILTIN
    text = builtin_text() if source == BUILTIN else read_text(source, "the calibration text")
    windows, more = calibration_windows(text, tokenizer, tokens or DEFAULT_TOKENS, graph.max_positions, source)
    return windows, [*doubts, *more]


@functools.cache
def builtin_text() -> str:
    """English and Chinese conversations, and code with what it says of itself: the package's sources, whose docstrings
    are given once more as prose."""
    own = Path(__file__).with_name("conversations.txt").read_text(encoding="utf-8")
    code = list(_sources())
    prose = [text for source in code for text in _docstrings(source)]
    half = len(prose) // 2
    return "\n\n".join([own, *prose[:half], own, *prose[half:], *code[:: max(1, len(code) // 60)]])


def _sources() -> Iterator[str]:
    package = Path(ftllm_nb.__file__).parent
    return (file.read_text(encoding="utf-8") for file in sorted(package.rglob("*.py")))


def _docstrings(source: str) -> Iterator[str]:
    waiting: list[ast.Module | ast.ClassDef | ast.FunctionDef] = [ast.parse(source)]
    for node in waiting:  # not ast.walk, which looks at a million expressions
        text = ast.get_docstring(node)
        if text is not None and len(text) >= SHORTEST_DOCSTRING:
            yield text
        waiting += [each for each in node.body if isinstance(each, (ast.ClassDef, ast.FunctionDef))]


def calibration_windows(
    text: str, tokenizer: Tokenizer, tokens: int, max_positions: int, where: str
) -> tuple[list[Tokens], list[str]]:
    """Windows of about `tokens` tokens together, from all parts of the text, each after what the tokenizer begins a
    sequence with; and sentences on what is doubtful about them. Raises `UsageError` where the text, called `where`, is
    too short.
    """
    beginning = tokenizer.encode_completion("")
    size = min(WINDOW, max_positions) - len(beginning)
    count = max(LEAST_WINDOWS, tokens // WINDOW)
    runs: list[list[int]] = []
    read = 0
    for piece in _pieces(text, count, size * CHARACTERS_A_TOKEN):
        ids = tokenizer.encode_completion(piece, add_special_tokens=False)
        runs += [ids[at : at + size] for at in range(0, len(ids) - size + 1, size)] if piece is text else [ids[:size]]
        read += len(ids)
    found = [np.array(beginning + run, np.int32) for run in runs if len(run) == size]
    if len(found) < LEAST_WINDOWS:
        raise UsageError(
            f"the calibration text {where} has {read:,} tokens, and at least {LEAST_WINDOWS * size:,} are needed: name "
            f"a longer one, or {BUILTIN}."
        )
    doubts = []
    if read > MOST_TOKENS_A_CHARACTER * len(text):
        doubts.append(
            f"the model's tokenizer spells the calibration text {where} byte by byte: it does not know its language, "
            "so what it makes of inputs says little of those that the model is for."
        )
    if len(found) < count // 2:
        doubts.append(
            f"the calibration text {where} gives {len(found)} windows of {size} tokens, fewer than the {count} that "
            "are asked for: numbers may fit it too well."
        )
    spread = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [found[at] for at in spread], doubts


def _pieces(text: str, count: int, characters: int) -> list[str]:
    """Evenly spaced pieces that begin with a line; the text itself where it is too short for that."""
    if len(text) < 2 * count * characters:
        return [text]
    starts = [round(len(text) * number / count) for number in range(count)]
    begins = [0 if start == 0 else text.find("\n", start) + 1 for start in starts]
    return [text[begin : begin + characters] for begin in begins]

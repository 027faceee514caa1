"""Whether a drafted file, read again, is the same model: all that GGUF cannot say of one is found here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.gguf.checkpoint import GgufCheckpoint
from ftllm_nb.checkpoint.gguf.draft import DraftFile
from ftllm_nb.errors import CheckpointError, FtllmError, TokenizerError
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.rope import RopeSettings
from ftllm_nb.loading import describe
from ftllm_nb.ops.gelu import is_tanh_form
from ftllm_nb.quantization.gguf.model import is_transposed
from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.gguf.probes import PROBES
from ftllm_nb.tokenizer.tokenizer import Tokenizer

_NEAR = 1e-6
"""Numbers are float32 in files."""
_SPACES = (
    "texts that begin with a space become other tokens than in the model's folder: a GGUF file's readers put one more "
    "before them."
)
_MOST_ADDED = 200
"""Added tokens that are tried."""


def read_draft(draft: DraftFile) -> GgufCheckpoint:
    """A draft as any file is read. Raises `CheckpointError` for a model that no file can hold."""
    try:
        return GgufCheckpoint(draft)
    except CheckpointError as error:
        raise CheckpointError(f"no GGUF file can hold {draft.path}: {error}") from None


def require_same_graph(
    path: object, name: str, given: CheckedGraph, draft: Checkpoint, names: Mapping[str, str], untold: Mapping[str, str]
) -> list[str]:
    """Raise `CheckpointError` where the graph that is read from a draft computes something else than the given one.

    `name`: of the architecture; `names`: of weights in the draft by those in the checkpoint; `untold`: see `WayOut`.
    Sentences on what may differ.
    """
    notes: dict[str, None] = {}
    try:
        found = _difference(given, describe(draft), names, untold, notes)
    except FtllmError as error:
        raise CheckpointError(f"no GGUF file can hold {path}: {error}") from None
    if found is not None:
        raise CheckpointError(f"no GGUF file can hold {path}: the architecture {name} there has {found}.")
    return list(notes)


def _difference(
    given: CheckedGraph, read: CheckedGraph, names: Mapping[str, str], untold: Mapping[str, str], notes: dict[str, None]
) -> str | None:
    """What is otherwise in the graph that was read; what may be is added to the notes."""
    if given.vocab_size != read.vocab_size:
        return f"{read.vocab_size} tokens and not {given.vocab_size}"
    if len(given.nodes) != len(read.nodes):
        return f"{len(read.nodes)} operators and not {len(given.nodes)}"
    for ours, theirs in zip(given.nodes, read.nodes, strict=True):
        if ours.operator is not theirs.operator:
            return f"{theirs.operator.name} where the model has {ours.operator.name} ({ours.call.where})"
        for key, value in ours.attributes.items():
            other = theirs.attributes.get(key)
            if _near(value, other):
                continue
            if key in untold:
                notes[untold[key]] = None
            else:
                return f"{ours.operator.name} with {key} {shorten(other)}, and the model {shorten(value)}"
        if ours.operator.entries and is_tanh_form(given.config) != is_tanh_form(read.config):
            return f"another form of {ours.operator.name} than the model's config names"
        found = _other_input(ours, theirs, names)
        if found is not None:
            return found
    if given.rope.keys() != read.rope.keys() and len({*map(_angles, given.rope.values())}) > 1:
        return f"rotations for {', '.join(read.rope) or 'all layers'}, and the model for {', '.join(given.rope)}"
    for kind, settings in given.rope.items():
        if not _turns_alike(settings, read.rope.get(kind, next(iter(read.rope.values()))), given.max_positions):
            return "no entry for the way in which the model scales its rotations (rope_scaling)"
    return None


def _angles(settings: RopeSettings) -> tuple[Any, ...]:
    return settings.type, settings.dim


def _other_input(ours: Node, theirs: Node, names: Mapping[str, str]) -> str | None:
    for parameter, value in ours.inputs.items():
        other = theirs.inputs.get(parameter)
        if value.kind == "weight":
            same = other is not None and names[value.tensor] == other.tensor
            same = same and (is_transposed(value) or _steps(value) == _steps(other))
        else:
            same = other is not None and _plain(value) == _plain(other)
        if not same:
            return f"{ours.operator.name} of {getattr(other, 'name', 'nothing')}, and the model of {value.name}"
    if theirs.inputs.keys() - ours.inputs.keys():
        return f"{ours.operator.name} with more inputs than the model"
    return None


def _steps(value: Value | None) -> tuple[Any, ...]:
    """What a graph does with a tensor before it reads it."""
    return () if value is None or value.computed is None else value.computed.steps


def _plain(value: Value) -> str:
    """A value's name without the kind of layer that a table of rotations is for."""
    return value.name.partition(".")[0] if value.name.startswith(("sin", "cos")) else value.name


def _near(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, (int, float)):
        return math.isclose(value, other, rel_tol=_NEAR, abs_tol=0)
    return bool(value == other)


def _turns_alike(ours: RopeSettings, theirs: RopeSettings, positions: int) -> bool:
    if ours.dim != theirs.dim or not _near(float(ours.type.attention_factor), float(theirs.type.attention_factor)):
        return False
    for at in (0, positions - 1):
        rows = slice(at, at + 1)
        if not np.allclose(ours.type.frequencies(rows), theirs.type.frequencies(rows), rtol=1e-5, atol=1e-12):
            return False
    return True


def require_same_tokens(path: object, given: Tokenizer, read: Tokenizer) -> list[str]:
    """Raise `TokenizerError` where the tokenizer that is read from a draft makes other tokens of a text. Sentences on
    what
    is otherwise beside texts: around added tokens, at the ends of answers."""
    notes = []
    for text in PROBES:
        ours, theirs = given.backend.encode(text, True), read.backend.encode(text, True)
        if ours != theirs and text.startswith(" "):
            notes = [_SPACES]
        elif ours != theirs:
            raise TokenizerError(
                f"no GGUF file can hold the tokenizer of {path}: of {shorten(text)} it makes {shorten(ours)}, and "
                f"there {shorten(theirs)}."
            )
    odd = [token.content for token in list(given.backend.added_tokens.values())[:_MOST_ADDED]
           if _around(given, token.content) != _around(read, token.content)]  # fmt: skip
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        notes.append(
            f"what stands beside {', '.join(odd[:3])}{more} becomes other tokens than in the model's folder: readers "
            "of GGUF files have one way with the spaces there."
        )
    ends = sorted(given.eos_token_ids - read.eos_token_ids)
    if ends:
        tokens = ", ".join(shorten(given.id_to_token(each)) for each in ends)
        notes.append(f"a GGUF file has no place for all tokens at which answers end: {tokens} will not end them there.")
    return notes


def _around(tokenizer: Tokenizer, content: str) -> list[int] | None:
    try:
        return tokenizer.backend.encode(f"a {content} b{content}c", False)
    except FtllmError:
        return None

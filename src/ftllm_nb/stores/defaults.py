"""What a tool has been told of a model beside its file: how tokens are chosen, and where answers end."""

from __future__ import annotations

from typing import Any

import numpy as np

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.stores.store import StoredModel

_NO_TEXT = (3, 4)
"""Of tokenizer.ggml.token_type: tokens of control and those that users defined."""


def use_defaults(checkpoint: Checkpoint, model: StoredModel) -> list[str]:
    """Lay the tool's defaults over the checkpoint's generation_config; sentences on those that cannot be used.

    A text at which answers end is one that the model says as a single token of control.
    """
    ids, sentences = [], list(model.unused)
    for stop in model.stops:
        token_id = _control_token(checkpoint, stop)
        if token_id is None:
            sentences.append(
                f"{model.store} ends answers of {model.name} at {shown(stop)}, which is no token of control: they do "
                "not end there here."
            )
        else:
            ids.append(token_id)
    entries: dict[str, Any] = dict(model.generation)
    if ids:
        known = checkpoint.generation_config.get("eos_token_id", [])
        entries["eos_token_id"] = list(dict.fromkeys([*(known if isinstance(known, list) else [known]), *ids]))
    checkpoint.generation_config = {**checkpoint.generation_config, **entries}
    return sentences


def _control_token(checkpoint: Checkpoint, text: str) -> int | None:
    metadata = checkpoint.tokenizer_metadata or {}
    tokens, kinds = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or text not in tokens:
        return None
    at = tokens.index(text)
    return at if isinstance(kinds, np.ndarray) and at < len(kinds) and kinds[at] in _NO_TEXT else None

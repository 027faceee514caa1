"""A vocabulary that is to be written into a GGUF file: its tokens by id, and what kind each is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.gguf.token_kinds import CONTROL, NORMAL, UNUSED, USER_DEFINED


@dataclass(frozen=True)
class OutgoingVocabulary:
    """`backend`: the reader of the model's tokenizer; `rows`: how many tokens the model has; `where`: the model's
    path."""

    backend: Backend
    rows: int
    where: str

    @cached_property
    def tokens(self) -> list[str]:
        """By id; a filler where the tokenizer has none."""
        found = map(self.backend.id_to_token, range(self.rows))
        return [f"[PAD{at}]" if token is None else token for at, token in enumerate(found)]

    @cached_property
    def kinds(self) -> np.ndarray:
        """The kind of each token, int32, as far as added tokens tell it."""
        kinds = np.full(self.rows, NORMAL, np.int32)
        kinds[[self.backend.id_to_token(at) is None for at in range(self.rows)]] = UNUSED
        for token_id, token in self.backend.added_tokens.items():
            kinds[token_id] = CONTROL if token.special else USER_DEFINED
        return kinds

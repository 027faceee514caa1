"""What a tokenizer file's reader gives the rest of the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ftllm_nb.tokenizer.added_tokens import AddedToken, TokenSpan
from ftllm_nb.tokenizer.streaming import StreamDecoder


class Backend(Protocol):
    """One vocabulary with its segmentation. Texts hold no lone surrogates."""

    added_tokens: dict[int, AddedToken]
    """Tokens matched as a whole, by id."""

    named_tokens: dict[str, str]
    """The tokens that play a role, such as "eos_token", by role."""

    cuts_at_added_tokens: bool
    """Whether what stands between added tokens is encoded by itself, so that ids before one never depend on what
    follows it."""

    unknown_id: int | None
    """The id for characters that the vocabulary can spell neither by tokens nor by bytes."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""

    def token_to_id(self, token: str) -> int | None:
        """The id of a token spelled as the vocabulary spells it."""
        ...

    def id_to_token(self, token_id: int) -> str | None:
        """The token as the vocabulary spells it, None for an id that it does not hold."""
        ...

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """Ids as transformers gives them: every added token in `text` is matched, control tokens too."""
        ...

    def encode_with_control(
        self, text: str, spans: Sequence[TokenSpan], control: frozenset[int]
    ) -> list[int]:
        """Ids of `text` where `spans` are tokens and nothing else becomes one of `control`."""
        ...

    def surrounding_tokens(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before and after a plain text: often a beginning of sequence."""
        ...

    def stream_decoder(self, skip: frozenset[int]) -> StreamDecoder:
        """A detokenizer that leaves out the ids in `skip`."""
        ...

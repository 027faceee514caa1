"""The tokens of a GGUF file, what kind each is, and the parts that some play."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import AddedToken, shorten
from ftllm_nb.tokenizer.gguf.end_tokens import end_of_generation
from ftllm_nb.tokenizer.gguf.metadata import Metadata
from ftllm_nb.tokenizer.gguf.token_kinds import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED

ROLES = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "sep_token": "seperator",  # as the format spells it
    "pad_token": "padding",
    "cls_token": "cls",
    "mask_token": "mask",
}
"""What templates call a token, and what the key of its id does."""


@dataclass(frozen=True)
class GgufVocabulary:
    """What all kinds of vocabulary have.

    tokens        by id, as the file spells them; none is empty, and none there twice
    ids           the same the other way round
    kinds         the kind of each token, an int array
    roles         ids by role, such as "bos_token"
    end_ids       tokens at which an answer ends
    """

    metadata: Metadata
    tokens: list[str]
    ids: dict[str, int]
    kinds: np.ndarray
    roles: dict[str, int]
    end_ids: frozenset[int]

    @property
    def where(self) -> str:
        """The file's name in error sentences."""
        return self.metadata.where

    def named(self) -> dict[str, AddedToken]:
        """The tokens that play a part, by role."""
        return {role: AddedToken(self.tokens[token_id], special=True) for role, token_id in self.roles.items()}

    def added(self) -> dict[int, AddedToken]:
        """Tokens that are matched in text as a whole, by id."""
        strips = self._tokens_strip()
        added = {}
        for token_id in np.flatnonzero(np.isin(self.kinds, (UNKNOWN, CONTROL, USER_DEFINED))).tolist():
            content = self.tokens[token_id]
            added[token_id] = AddedToken(
                content,
                special=bool(self.kinds[token_id] != USER_DEFINED),
                rstrip=strips and content not in ("<unk>", "<s>", "<|endoftext|>"),
            )
        return added

    def adds(self, role: str, default: bool) -> bool:
        """Whether a text gets the token of `role` ("bos", "eos") put beside it; `default` where the file is silent."""
        key = f"tokenizer.ggml.add_{role}_token"
        given = self.metadata.flag(key)
        has_token = f"{role}_token" in self.roles
        if given and not has_token:
            raise self.metadata.error(key, f"is true, and tokenizer.ggml.{role}_token_id names no token")
        return has_token and (default if given is None else given)

    def _tokens_strip(self) -> bool:
        """Whether added tokens swallow the space after them: Phi-3's do, which the format has no place for."""
        name = (self.metadata.text("general.name") or "").lower()
        return "phi-3" in name or "phi3" in name


def read_vocabulary(
    metadata: Metadata, default_roles: dict[str, int], embedding_rows: int | None
) -> GgufVocabulary:
    """The file's tokens; `default_roles` are ids that hold where the file names none.

    TokenizerError where counts differ, a token is there twice, an id is none, or there are more tokens than the
    `embedding_rows`.
    """
    tokens = metadata.texts("tokenizer.ggml.tokens")
    if not tokens:
        raise metadata.error("tokenizer.ggml.tokens", "is missing or empty: the file has no tokenizer")
    count = len(tokens)
    if embedding_rows is not None and count > embedding_rows:
        raise metadata.error(
            "tokenizer.ggml.tokens", f"lists {count} tokens, and the embedding has {embedding_rows} rows"
        )
    tokens = _named_tokens(tokens, metadata)
    ids = dict(zip(tokens, range(count), strict=True))
    if len(ids) != count:
        twice = next(token for token_id, token in enumerate(tokens) if ids[token] != token_id)
        raise metadata.error(
            "tokenizer.ggml.tokens", f"lists {shorten(twice)} twice, as {tokens.index(twice)} and {ids[twice]}"
        )
    kinds = metadata.numbers("tokenizer.ggml.token_type", count, "iu")
    kinds = np.full(count, NORMAL) if kinds is None else kinds.astype(np.int64)
    if kinds.min() < 0 or kinds.max() > BYTE:
        at = int(np.flatnonzero((kinds < 0) | (kinds > BYTE))[0])
        raise metadata.error("tokenizer.ggml.token_type", f"is {kinds[at]} of token {at}, and {BYTE} is the last kind")
    fillers = [at for at in np.flatnonzero(np.isin(kinds, (UNKNOWN, USER_DEFINED))) if tokens[at] == f"[PAD{at}]"]
    kinds[fillers] = UNUSED
    roles = {role: token_id for role, token_id in default_roles.items() if token_id < count}
    if UNKNOWN in kinds:
        roles["unk_token"] = int(np.flatnonzero(kinds == UNKNOWN)[0])
    for role, key in ROLES.items():
        token_id = metadata.token_id(f"tokenizer.ggml.{key}_token_id", count)
        if token_id is not None:
            roles[role] = token_id
    end_ids = end_of_generation(metadata, ids, kinds, roles.get("eos_token"))
    for token_id in {*end_ids, *roles.values()}:
        if kinds[token_id] == NORMAL:
            kinds[token_id] = CONTROL
    return GgufVocabulary(metadata, tokens, ids, kinds, roles, end_ids)


def _named_tokens(tokens: list[str], metadata: Metadata) -> list[str]:
    """The tokens, with names for those that the file leaves empty."""
    try:
        "".join(tokens).encode()
    except UnicodeEncodeError:
        odd = next(at for at, token in enumerate(tokens) if any("\ud800" <= one <= "\udfff" for one in token))
        raise TokenizerError(f"{metadata.where}: token {odd} of tokenizer.ggml.tokens is no valid UTF-8.") from None
    if "" not in tokens:
        return tokens
    return [token or f"[EMPTY_{at}]" for at, token in enumerate(tokens)]

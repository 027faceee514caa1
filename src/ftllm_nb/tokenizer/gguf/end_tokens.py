"""The tokens at which an answer ends, found as llama.cpp finds them: by the file's ids and by known spellings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ftllm_nb.tokenizer.gguf.metadata import Metadata
from ftllm_nb.tokenizer.gguf.token_kinds import NORMAL

_SPELLINGS = frozenset(
    "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|>"
    " <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response>"
    " <｜end▁of▁sentence｜> [e~[".split()
)
_ENDS_OF_FILES = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
"""Tokens that a code model writes when what was to be filled in is done, by the name of the key of their id."""
_NO_ENDS_BESIDE = {
    "<|end|>": (("<|return|>", "<|call|>"), ("<|calls|>", "<|flush|>")),
    "</s>": (("<|tool_response>",),),
}
"""Tokens that end a part of an answer, or nothing, in vocabularies that hold the others."""


def end_of_generation(
    metadata: Metadata, ids: Mapping[str, int], kinds: np.ndarray, eos_id: int | None
) -> frozenset[int]:
    """Ids that end an answer, `ids` and `kinds` being those of all tokens of the file.

    One difference from llama.cpp: "</s>" as an ordinary word of the vocabulary, as Qwen's have it, is a tag of HTML.
    """
    ends = {ids[text] for text in _SPELLINGS if text in ids}
    if "</s>" in ids and kinds[ids["</s>"]] == NORMAL:
        ends.discard(ids["</s>"])
    for text, companions in _NO_ENDS_BESIDE.items():
        if text in ids and any(all(one in ids for one in group) for group in companions):
            ends.discard(ids[text])
    for key, spellings in _ENDS_OF_FILES.items():
        token_id = metadata.token_id(f"tokenizer.ggml.{key}_token_id", len(ids))
        found = [ids[text] for text in spellings if text in ids][:1]
        ends.update(found if token_id is None else [token_id])
    named = [metadata.token_id(f"tokenizer.ggml.{key}_token_id", len(ids)) for key in ("eot", "eom")]
    return frozenset(ends.union(one for one in (eos_id, *named) if one is not None))

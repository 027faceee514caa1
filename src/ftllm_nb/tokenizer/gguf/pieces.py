"""SentencePiece's vocabularies: the model file that the converter read is written again, for its own library."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.formats.sentencepiece_model import OwnSegmentation, SentencePieceBackend, require_searchable
from ftllm_nb.tokenizer.formats.tokenizer_json import TokenizerJsonBackend
from ftllm_nb.tokenizer.gguf.byte_pairs import merges_of
from ftllm_nb.tokenizer.gguf.outgoing import OutgoingVocabulary
from ftllm_nb.tokenizer.gguf.token_kinds import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary
from ftllm_nb.tokenizer.settings import NAMED_TOKENS, TokenizerSettings

LIKELIEST, BYTE_PAIRS = 1, 2
"""Values of ModelProto.trainer_spec.model_type."""

_TOKENS, _SCORES = "tokenizer.ggml.tokens", "tokenizer.ggml.scores"
_CHARSMAP = "tokenizer.ggml.precompiled_charsmap"
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def open_pieces(vocabulary: GgufVocabulary, model_type: int, *, adds_bos: bool, adds_eos: bool) -> Backend:
    """The vocabulary in SentencePiece's library; the flags hold where the file says nothing."""
    import sentencepiece

    metadata = vocabulary.metadata
    prefix = metadata.flag("tokenizer.ggml.add_space_prefix") is not False
    model = _written_model(vocabulary, model_type, prefix)
    try:
        require_searchable(vocabulary.tokens)
        library = sentencepiece.SentencePieceProcessor()
        library.LoadFromSerializedProto(model)
    except Exception as error:  # the library raises RuntimeError, OSError or TypeError by version
        reason = " ".join(str(error).split()).rstrip(".")
        raise metadata.error(_TOKENS, f"makes no vocabulary of SentencePiece: {reason}") from error
    settings = TokenizerSettings(
        folder=Path(vocabulary.where),
        tokenizer_class=None,
        model_type=None,
        legacy=True,
        add_prefix_space=prefix,
        add_bos_token=vocabulary.adds("bos", adds_bos),
        add_eos_token=vocabulary.adds("eos", adds_eos),
        has_remote_code=False,
        named=vocabulary.named(),
        unnamed=frozenset(NAMED_TOKENS),
        added=list(vocabulary.added().items()),
    )
    pieces = list(zip(vocabulary.tokens, vocabulary.kinds.tolist(), strict=True))
    rules = OwnSegmentation(library, model, settings)
    return SentencePieceBackend(library, pieces, rules, settings, finds_symbols=False)


def _written_model(vocabulary: GgufVocabulary, model_type: int, prefix: bool) -> bytes:
    """A ModelProto as the library reads it."""
    metadata = vocabulary.metadata
    kinds = _library_kinds(vocabulary)
    trainer = _number(3, model_type) + _number(35, int(BYTE in kinds))
    charsmap = metadata.numbers(_CHARSMAP, None, "iu")
    normalizer = b"" if charsmap is None else _bytes(2, charsmap.astype(np.uint8).tobytes())
    trims = metadata.flag("tokenizer.ggml.remove_extra_whitespaces") or False
    normalizer += _number(3, int(prefix)) + _number(4, int(trims))
    return _pieces(vocabulary, kinds) + _bytes(2, trainer) + _bytes(3, normalizer)


def _library_kinds(vocabulary: GgufVocabulary) -> np.ndarray:
    """The tokens' kinds as the library wants them: one unknown token, all bytes or none."""
    kinds = np.where(vocabulary.kinds == 0, NORMAL, vocabulary.kinds)
    bytes_of = [vocabulary.ids[spelling] for spelling in _BYTES if spelling in vocabulary.ids]
    kinds[bytes_of] = BYTE if len(bytes_of) == len(_BYTES) else CONTROL
    kinds[(kinds == BYTE) & ~np.isin(np.arange(len(kinds)), bytes_of)] = CONTROL
    kinds[kinds == UNKNOWN] = CONTROL
    unknown = vocabulary.roles.get("unk_token")
    if unknown is None:
        raise vocabulary.metadata.error("tokenizer.ggml.unknown_token_id", "is missing, and no token is of that kind")
    kinds[unknown] = UNKNOWN
    return kinds


def _pieces(vocabulary: GgufVocabulary, kinds: np.ndarray) -> bytes:
    """ModelProto.pieces, each with its text, score and kind."""
    metadata, texts = vocabulary.metadata, list(vocabulary.tokens)
    for token_id in np.flatnonzero(kinds == USER_DEFINED).tolist():
        spelled = texts[token_id].replace(" ", "▁")  # as text looks when the library searches it
        if spelled != texts[token_id] and spelled in vocabulary.ids:
            kinds[token_id] = CONTROL
        else:
            texts[token_id] = spelled
    scores = metadata.numbers(_SCORES, len(texts), "fiu")
    if scores is None or not np.isfinite(scores).all():
        raise metadata.error(_SCORES, "is missing" if scores is None else "holds what is no finite number")
    encoded = [text.encode() for text in texts]
    lengths = list(map(len, encoded))
    heads = {length: _head(length) for length in set(lengths)}
    tails = np.empty((len(texts), 7), np.uint8)
    tails[:, 0], tails[:, 5], tails[:, 6] = 0x15, 0x18, kinds
    tails[:, 1:5] = scores.astype("<f4")[:, None].view(np.uint8)
    # Their last byte, the kind, is not 0: NumPy would drop it. Nothing here runs Python code for each piece.
    parts = zip(map(heads.__getitem__, lengths), encoded, tails.view("S7").ravel().tolist(), strict=True)
    return b"".join(chain.from_iterable(parts))


def _head(length: int) -> bytes:
    """What stands before the text, of so many bytes, of a piece: 7 bytes of score and kind come after it."""
    text_head = b"\x0a" + _varint(length)
    return b"\x0a" + _varint(len(text_head) + length + 7) + text_head


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def piece_entries(vocabulary: OutgoingVocabulary, model_type: int) -> dict[str, Any] | None:
    """What the metadata has of a vocabulary of SentencePiece of this model type, or of a tokenizer.json that was made
    of
    one; None for others."""
    backend, kinds = vocabulary.backend, vocabulary.kinds.copy()
    if isinstance(backend, SentencePieceBackend):
        if backend.merges_pairs != (model_type == BYTE_PAIRS):
            return None
        own = np.array(backend.kinds, np.int32)
        plain = kinds[: len(own)] == NORMAL
        kinds[: len(own)][plain] = own[plain]
        scores = np.zeros(vocabulary.rows, np.float32)
        scores[: len(own)] = backend.scores
    elif isinstance(backend, TokenizerJsonBackend) and model_type == BYTE_PAIRS:
        merges = merges_of(backend.state)
        if merges is None or not backend.state["model"]["byte_fallback"]:
            return None
        scores = _scores_of_merges(vocabulary.tokens, merges)
    else:
        return None
    spelled = set(_BYTES)
    kinds[[token in spelled for token in vocabulary.tokens]] = BYTE
    if backend.unknown_id is not None:
        kinds[backend.unknown_id] = UNKNOWN
    first = backend.id_to_token(next(iter(backend.encode("a", add_special_tokens=False)), -1)) or ""
    return {
        "tokenizer.ggml.pre": "default",
        _SCORES: scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.add_space_prefix": first.startswith("▁"),
    }


def _scores_of_merges(tokens: list[str], merges: list[str]) -> np.ndarray:
    """Scores with which the best pair is that of the first merge: a token's is minus the place of the first merge that
    makes it, others come last."""
    places: dict[str, int] = {}
    for merge in merges:
        places.setdefault(merge.replace(" ", "", 1), len(places))
    return np.array([-places.get(token, len(places)) for token in tokens], np.float32)

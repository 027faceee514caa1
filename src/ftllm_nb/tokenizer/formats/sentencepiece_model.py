"""tokenizer.model: a sentencepiece vocabulary, with the rules that transformers puts around it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import AddedToken, TokenMatcher, TokenSpan, contents_pattern
from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.settings import TokenizerSettings
from ftllm_nb.tokenizer.streaming import ByteFallbackStream, StreamDecoder

FILE_NAME = "tokenizer.model"
PREFERENCE = 1

# Protocol buffers merge what is appended to a message: these bytes set fields of ModelProto.normalizer_spec.
_NO_PREFIX = b"\x1a\x02\x18\x00"
"""add_dummy_prefix = false."""
_NO_RULES = b"\x1a\x06\x12\x00\x18\x00\x20\x00"
"""The same, remove_extra_whitespaces = false and precompiled_charsmap = "": text is not normalized."""

_CONTROL, _USER_DEFINED = 3, 4
"""Values of ModelProto.SentencePiece.type."""
_BYTE_PAIRS = 2
"""A value of ModelProto.trainer_spec.model_type."""


def require_searchable(texts: Iterable[str]) -> None:
    """Raise `ValueError` for a piece that ends where the library would search on; its older versions end the process
    then."""
    for number, text in enumerate(texts):
        if "\0" in text:
            raise ValueError(f"piece {number} holds the character of number 0")


def open_backend(file: Path, settings: TokenizerSettings) -> Backend:
    """Reads tokenizer.model; TokenizerError where it is damaged.

    Which rules there are besides the vocabulary depends on the class that tokenizer_config.json names. For
    LlamaTokenizer text is not normalized, and a "▁" goes before it (or, when `legacy`, before each part between
    added tokens). With any other class the file's own settings hold in each part, or only in the first one
    where the folder says that it is not `legacy`.
    """
    import sentencepiece

    try:
        data = file.read_bytes()
        pieces = list(_pieces(data))
        require_searchable(text for text, _ in pieces)
        library = sentencepiece.SentencePieceProcessor()
        library.LoadFromSerializedProto(data + (_NO_RULES if settings.follows_llama_rules else b""))
        if not pieces or library.GetPieceSize() != len(pieces):
            raise ValueError(f"it holds {len(pieces)} pieces, of which {library.GetPieceSize()} can be used")
        rules: Segmentation
        if settings.follows_llama_rules:
            rules = LlamaSegmentation(library, settings)
        else:
            rules = OwnSegmentation(library, data, settings)
    except Exception as error:  # the library raises RuntimeError, OSError or TypeError by version
        reason = " ".join(str(error).split()).rstrip(".")
        raise TokenizerError(
            f"{file} is damaged or no sentencepiece model: {reason}; download it again."
        ) from error
    return SentencePieceBackend(library, pieces, rules, settings, finds_symbols=not settings.follows_llama_rules)


class Segmentation(Protocol):
    """How a part of a text, between added tokens, becomes ids."""

    adds_space: bool
    """Whether a text's first piece begins with a space that the text does not have."""

    def encode(self, part: str, is_first: bool) -> list[int]:
        """Ids of a part; `is_first` where the text begins with it."""
        ...

    def encode_rest(self, part: str) -> list[int]:
        """Ids of what continues a part, without a prefix."""
        ...


class LlamaSegmentation:
    """LlamaTokenizer's: the text as it is, with a "▁" before it unless add_prefix_space is false."""

    def __init__(self, library: Any, settings: TokenizerSettings) -> None:
        self._library = library
        self.adds_space = settings.add_prefix_space
        self._prefixes_every_part = bool(settings.legacy)

    def encode(self, part: str, is_first: bool) -> list[int]:
        """See Segmentation."""
        prefixed = self.adds_space and (is_first or self._prefixes_every_part)
        if prefixed and not part.startswith((" ", "▁")):
            part = "▁" + part
        return self.encode_rest(part)

    def encode_rest(self, part: str) -> list[int]:
        """See Segmentation."""
        ids: list[int] = self._library.EncodeAsIds(part)
        return ids


class OwnSegmentation:
    """The file's own settings; `data` is the file.

    A folder that says that it is not `legacy` has the prefix before the text only, and not before a space.
    """

    def __init__(self, library: Any, data: bytes, settings: TokenizerSettings) -> None:
        self._library = library
        self._data = data
        self.adds_space = library.EncodeAsPieces("a")[:1] in (["▁"], ["▁a"])
        self._prefixes_every_part = settings.legacy is not False or settings.has_remote_code

    def encode(self, part: str, is_first: bool) -> list[int]:
        """See Segmentation."""
        ids: list[int]
        if self._prefixes_every_part:
            ids = self._library.EncodeAsIds(part)
            return ids
        pieces = self._without_prefix.EncodeAsPieces(part)
        if not is_first or (pieces and pieces[0].startswith("▁")):
            return self.encode_rest(part)
        ids = self._library.EncodeAsIds(part)
        return ids

    def encode_rest(self, part: str) -> list[int]:
        """See Segmentation."""
        ids: list[int] = self._without_prefix.EncodeAsIds(part)
        return ids

    @cached_property
    def _without_prefix(self) -> Any:
        """The same vocabulary with add_dummy_prefix = false; read when it is first needed, which takes its time."""
        import sentencepiece

        library = sentencepiece.SentencePieceProcessor()
        library.LoadFromSerializedProto(self._data + _NO_PREFIX)
        return library


class SentencePieceBackend:
    """A sentencepiece.SentencePieceProcessor behind the Backend interface.

    `pieces` are (text, type) by id, `kinds` those types. `finds_symbols`: whether the user-defined ones among them are
    found by the library, as parts of the text around them, or cut the text as other added tokens do.
    """

    def __init__(
        self,
        library: Any,
        pieces: Sequence[tuple[str, int]],
        rules: Segmentation,
        settings: TokenizerSettings,
        *,
        finds_symbols: bool,
    ) -> None:
        self._library = library
        self._rules = rules
        self._spellings: dict[frozenset[int], re.Pattern[str]] = {}
        self._pieces = [text for text, _ in pieces]
        self.kinds = [kind for _, kind in pieces]
        self._id_of = {text: token_id for token_id, (text, _) in enumerate(pieces)}
        self.cuts_at_added_tokens = False  # symbols of the vocabulary are found in the same pass as its pieces
        self.unknown_id = library.unk_id() if library.unk_id() >= 0 else None
        self._settings = settings
        self.named_tokens = self._default_names() | {
            role: token.content for role, token in settings.named.items()
        }
        self.added_tokens: dict[int, AddedToken] = {}
        for token_id, (text, kind) in enumerate(pieces):
            if kind in (_CONTROL, _USER_DEFINED):
                self.added_tokens[token_id] = AddedToken(text, special=kind == _CONTROL)
        for wanted_id, token in settings.added:
            self._add(token, wanted_id)
        for role, content in self.named_tokens.items():
            self._add(settings.named.get(role, AddedToken(content, special=True)), None)
        for token in settings.extra_special:
            self._add(token, None)
        self.vocab_size = max([len(pieces), *(token_id + 1 for token_id in self.added_tokens)])
        symbols = (token_id for token_id, (_, kind) in enumerate(pieces) if kind == _USER_DEFINED)
        left_to_library = set(symbols if finds_symbols else ())
        self._matcher = TokenMatcher(
            (token, token_id)
            for token_id, token in self.added_tokens.items()
            if token_id not in left_to_library
        )

    def token_to_id(self, token: str) -> int | None:
        """See Backend."""
        return self._id_of.get(token)

    def id_to_token(self, token_id: int) -> str | None:
        """See Backend."""
        if token_id in self.added_tokens:
            return self.added_tokens[token_id].content
        return self._pieces[token_id] if 0 <= token_id < len(self._pieces) else None

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """See Backend."""
        ids = self._encode_parts(text, self._matcher.find(text), frozenset())
        if add_special_tokens:
            before, after = self.surrounding_tokens()
            return before + ids + after
        return ids

    def encode_with_control(
        self, text: str, spans: Sequence[TokenSpan], control: frozenset[int]
    ) -> list[int]:
        """See Backend."""
        others = [span for span in self._matcher.find(text) if span.token_id not in control]
        return self._encode_parts(text, _without_overlaps(spans, others), control - {self.unknown_id})

    @property
    def model(self) -> bytes:
        """The model file, as it is used here."""
        written: bytes = self._library.serialized_model_proto()
        return written

    @property
    def adds_space(self) -> bool:
        """Whether a text's first piece begins with a space that the text does not have."""
        return self._rules.adds_space

    @property
    def scores(self) -> list[float]:
        """Of the pieces, by id."""
        return [self._library.GetScore(at) for at in range(len(self._pieces))]

    @property
    def merges_pairs(self) -> bool:
        """Whether pieces are made by merging pairs, and not chosen by likelihood."""
        trainer = (value for number, value in _fields(self._library.serialized_model_proto()) if number == 2)
        entries = (entry for each in trainer if isinstance(each, bytes) for entry in _fields(each))
        return any(number == 3 and value == _BYTE_PAIRS for number, value in entries)

    def surrounding_tokens(self) -> tuple[list[int], list[int]]:
        """See Backend."""
        before, after = [], []
        if self._settings.add_bos_token and "bos_token" in self.named_tokens:
            before.append(self._id_of[self.named_tokens["bos_token"]])
        if self._settings.add_eos_token and "eos_token" in self.named_tokens:
            after.append(self._id_of[self.named_tokens["eos_token"]])
        return before, after

    def stream_decoder(self, skip: frozenset[int]) -> StreamDecoder:
        """See Backend."""

        def token_text(token_id: int) -> str | None:
            return None if token_id in skip else self.id_to_token(token_id)

        return ByteFallbackStream(token_text, strip_leading_space=self._rules.adds_space)

    def _default_names(self) -> dict[str, str]:
        """The vocabulary's own tokens for the beginning, the end and unknown characters, by role."""
        ids = {
            "bos_token": self._library.bos_id(),
            "eos_token": self._library.eos_id(),
            "unk_token": self._library.unk_id(),
        }
        unnamed = self._settings.unnamed
        return {
            role: self._pieces[token_id]
            for role, token_id in ids.items()
            if token_id >= 0 and role not in unnamed
        }

    def _add(self, token: AddedToken, wanted_id: int | None) -> None:
        """Marks a piece as matched as a whole, or gives a new token `wanted_id`, else the next free id."""
        if not token.content:
            return
        token_id = self._id_of.get(token.content)
        if token_id is None:
            next_id = max([len(self._pieces) - 1, *self.added_tokens]) + 1
            token_id = next_id if wanted_id is None or wanted_id in self.added_tokens else wanted_id
            self._id_of[token.content] = token_id
        self.added_tokens[token_id] = token

    def _encode_parts(self, text: str, spans: Sequence[TokenSpan], forbidden: frozenset[int]) -> list[int]:
        """Ids of the tokens at `spans` and of the text between them, which gives none of `forbidden`."""
        ids: list[int] = []
        position = 0
        for span in spans:
            ids += self._encode_part(text[position : span.start], position == 0, forbidden)
            ids.append(span.token_id)
            position = span.end
        return ids + self._encode_part(text[position:], position == 0, forbidden)

    def _encode_part(self, text: str, is_first: bool, forbidden: frozenset[int]) -> list[int]:
        if not text:
            return []
        ids = self._rules.encode(text, is_first)
        if forbidden.isdisjoint(ids):
            return ids
        return self._encode_cutting(text, forbidden, partial(self._rules.encode, is_first=is_first))

    def _encode_cutting(
        self, text: str, forbidden: frozenset[int], encode: Callable[[str], list[int]]
    ) -> list[int]:
        """Ids of `text` with every spelling of a forbidden piece cut after its first character."""
        if forbidden not in self._spellings:
            contents = [self._pieces[token_id] for token_id in forbidden if token_id < len(self._pieces)]
            self._spellings[forbidden] = contents_pattern(content for content in contents if len(content) > 1)
        pattern = self._spellings[forbidden]
        ids: list[int] = []
        start = 0
        while (match := pattern.search(text, start)) is not None:
            ids += encode(text[start : match.start() + 1])
            start, encode = match.start() + 1, self._rules.encode_rest
        return [token_id for token_id in ids + encode(text[start:]) if token_id not in forbidden]


def _without_overlaps(first: Sequence[TokenSpan], second: Sequence[TokenSpan]) -> list[TokenSpan]:
    """Both lists in order of place; where two spans overlap, the one from `first` stays."""
    starts = [span.start for span in first]
    spans = list(first)
    for span in second:
        at = bisect_left(starts, span.end)
        if at == 0 or first[at - 1].end <= span.start:
            spans.append(span)
    return sorted(spans)


def _pieces(data: bytes) -> Iterator[tuple[str, int]]:
    """(text, type) of each ModelProto.pieces (field 1: string 1, score 2, type 3) in the file's order."""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            text, kind = "", 1
            for inner, item in _fields(value):
                if inner == 1 and isinstance(item, bytes):
                    text = item.decode("utf-8")
                elif inner == 3 and isinstance(item, int):
                    kind = item
            yield text, kind


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protocol buffers message: an int for varints, bytes for the other kinds."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire_type == 2:
            length, position = _varint(data, position)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"unknown field kind {wire_type}")
        if position + length > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("it ends in the middle of a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position

"""tokenizer.json: the whole segmentation in one file, run by the tokenizers library."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import AddedToken, TokenSpan
from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.settings import TokenizerSettings
from ftllm_nb.tokenizer.streaming import ByteFallbackStream, ByteLevelStream, StreamDecoder, WindowStream

if TYPE_CHECKING:
    from tokenizers import Tokenizer as LibraryTokenizer

FILE_NAME = "tokenizer.json"
PREFERENCE = 0


_IDS_END = 1 << 32
"""The library's ids are 32-bit."""
_LLAMA_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
"""The tokens that LlamaTokenizer names where the folder does not."""


def open_backend(file: Path, settings: TokenizerSettings) -> Backend:
    """Reads tokenizer.json, with what tokenizer_config.json adds; TokenizerError where it is damaged."""
    from tokenizers import Tokenizer as LibraryTokenizer

    with _library_at_work(f"{file} is damaged or of an unknown version"):
        library = LibraryTokenizer.from_str(file.read_text(encoding="utf-8-sig"))
        return _open_library(library, file, settings)


def _open_library(library: LibraryTokenizer, file: Path, settings: TokenizerSettings) -> TokenizerJsonBackend:
    library.no_truncation()
    library.no_padding()
    if settings.follows_llama_rules and not _is_byte_level(library):
        for role, content in _LLAMA_TOKENS.items():
            if role not in settings.unnamed:
                settings.named.setdefault(role, AddedToken(content, special=True))
        _apply_llama_rules(library, settings)
    _add_missing_tokens(library, settings)
    return TokenizerJsonBackend(library, str(file), {role: token.content for role, token in settings.named.items()})


@contextmanager
def _library_at_work(failure: str) -> Iterator[None]:
    """Turns what the library raises, a bare Exception or a panic of its Rust code, into a TokenizerError."""
    try:
        yield
    except TokenizerError:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            reason = " ".join(str(error).split()).rstrip(".")
            raise TokenizerError(f"{failure}: {reason}; download it again, or update tokenizers.") from error
        raise


class TokenizerJsonBackend:
    """A tokenizers.Tokenizer behind the Backend interface.

    `where` names its file in error sentences. `added_are_text`: whether added tokens are spelled as text is, while
    others of a byte-level vocabulary have a character for each byte; in tokenizer.json all do when they are decoded.
    """

    def __init__(
        self, library: LibraryTokenizer, where: str, named_tokens: dict[str, str], *, added_are_text: bool = False
    ) -> None:
        self._library = library
        self._failure = f"{where} cannot encode this text"
        self._text_only: dict[frozenset[int], _TextOnlyTokenizer] = {}
        self.added_tokens = {
            token_id: _from_library(token) for token_id, token in library.get_added_tokens_decoder().items()
        }
        self.named_tokens = named_tokens
        self._plain = frozenset(self.added_tokens if added_are_text else ())
        self.cuts_at_added_tokens = True
        self.unknown_id = _unknown_id(library)

    @cached_property
    def vocab_size(self) -> int:
        """See Backend. Only when it is asked for: the library takes tenths of a second to copy a large vocabulary."""
        # Not the number of tokens: a vocabulary may leave ids out.
        return max(self._library.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @cached_property
    def state(self) -> dict[str, Any]:
        """The tokenizer as parsed tokenizer.json, as it is used here."""
        found: dict[str, Any] = json.loads(self._library.to_str())
        return found

    def cut(self, text: str) -> list[str]:
        """The words of a text before they become tokens, spelled as the vocabulary spells them."""
        with _library_at_work(self._failure):
            if self._library.normalizer is not None:
                text = self._library.normalizer.normalize_str(text)
            if self._library.pre_tokenizer is None:
                return [text]
            return [word for word, _ in self._library.pre_tokenizer.pre_tokenize_str(text)]

    def token_to_id(self, token: str) -> int | None:
        """See Backend."""
        token_id: int | None = self._library.token_to_id(token)
        return token_id

    def id_to_token(self, token_id: int) -> str | None:
        """See Backend."""
        if not 0 <= token_id < _IDS_END:
            return None
        token: str | None = self._library.id_to_token(token_id)
        return token

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """See Backend."""
        with _library_at_work(self._failure):
            ids: list[int] = self._library.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def encode_with_control(
        self, text: str, spans: Sequence[TokenSpan], control: frozenset[int]
    ) -> list[int]:
        """See Backend."""
        with _library_at_work(self._failure):
            if control not in self._text_only:
                self._text_only[control] = _TextOnlyTokenizer(self._library, control, self.unknown_id)
            return self._text_only[control].encode(text, spans)

    def surrounding_tokens(self) -> tuple[list[int], list[int]]:
        """See Backend."""
        with _library_at_work(self._failure):
            with_text = self._library.encode("a", add_special_tokens=True)
            plain = self._library.encode("a", add_special_tokens=False).ids
        start = next(
            (at for at, special in enumerate(with_text.special_tokens_mask) if not special),
            len(with_text.ids),
        )
        return with_text.ids[:start], with_text.ids[start + len(plain) :]

    def stream_decoder(self, skip: frozenset[int]) -> StreamDecoder:
        """See Backend."""

        def token_text(token_id: int) -> str | None:
            return None if token_id in skip else self.id_to_token(token_id)

        def decode(ids: Sequence[int]) -> str:
            known = [one for one in ids if 0 <= one < self.vocab_size and one not in skip]
            text: str = self._library.decode(known, skip_special_tokens=False)
            return text

        kind, strip_leading_space = _decoder_kind(self._library)
        if kind == "ByteLevel":
            return ByteLevelStream(token_text, self._plain)
        if kind == "ByteFallback":
            return ByteFallbackStream(token_text, strip_leading_space)
        return WindowStream(decode)


class _TextOnlyTokenizer:
    """A tokenizer on the same model in which control tokens have secret names, so that no text can spell them.

    It numbers added tokens anew; `_real_id` maps its numbers back. The model is shared and not copied: a large one
    takes seconds.
    """

    def __init__(self, library: LibraryTokenizer, control: frozenset[int], unknown_id: int | None) -> None:
        from tokenizers import Tokenizer as LibraryTokenizer

        nonce = secrets.token_hex(8)
        self._forbidden = control - {unknown_id}
        self._alias: dict[int, str] = {}
        self._library = LibraryTokenizer(library.model)
        if library.normalizer is not None:
            self._library.normalizer = library.normalizer
        if library.pre_tokenizer is not None:
            self._library.pre_tokenizer = library.pre_tokenizer
        vocabulary = library.get_vocab(with_added_tokens=False).values()
        # The library numbers added tokens from the vocabulary's count: fillers fill its holes.
        holes = max(vocabulary, default=-1) + 1 - len(vocabulary)
        added = [
            AddedToken(f"\ue000{nonce}:filler:{index}\ue001", special=True) for index in range(holes)
        ]
        real_id = {}
        for token_id, library_token in library.get_added_tokens_decoder().items():
            token = _from_library(library_token)
            if token_id in control:
                self._alias[token_id] = f"\ue000{nonce}:{token_id}\ue001"
                token = replace(token, content=self._alias[token_id], normalized=False)
            added.append(token)
            real_id[token.content] = token_id
        self._library.add_special_tokens([to_library(token) for token in added if token.special])
        self._library.add_tokens([to_library(token) for token in added if not token.special])
        self._real_id = {
            self._library.token_to_id(content): token_id for content, token_id in real_id.items()
        }

    def encode(self, text: str, spans: Sequence[TokenSpan]) -> list[int]:
        pieces: list[str] = []
        position = 0
        for span in spans:
            pieces += [text[position : span.start], self._alias[span.token_id]]
            position = span.end
        pieces.append(text[position:])
        return self._encode("".join(pieces))

    def _encode(self, text: str) -> list[int]:
        encoding = self._library.encode(text, add_special_tokens=False)
        ids: list[int] = encoding.ids
        for index, token_id in enumerate(ids):
            # The vocabulary itself may reach a control token from its characters: then cut it.
            if token_id in self._forbidden and token_id not in self._real_id:
                start, end = encoding.offsets[index]
                if end - start < 2:
                    return self._encode(text[:start]) + self._encode(text[end:])
                return self._encode(text[: start + 1]) + self._encode(text[start + 1 :])
        return [self._real_id.get(token_id, token_id) for token_id in ids]


def _add_missing_tokens(library: LibraryTokenizer, settings: TokenizerSettings) -> None:
    """Adds the tokens of tokenizer_config.json that the file lacks, in transformers' order."""
    present = {token.content for token in library.get_added_tokens_decoder().values()}
    named = {token.content for token in settings.named.values()}
    for _, token in settings.added:
        if token.content not in present:
            if token.special or token.content in named:
                library.add_special_tokens([to_library(token)])
            else:
                library.add_tokens([to_library(token)])
    library.add_special_tokens([to_library(token) for token in settings.special_tokens() if token.content])


def _apply_llama_rules(library: LibraryTokenizer, settings: TokenizerSettings) -> None:
    """Llama's segmentation as in transformers 5: "▁" before the text, or before each part when `legacy`."""
    from tokenizers import decoders, normalizers, pre_tokenizers

    scheme = "never" if not settings.add_prefix_space else "always" if settings.legacy else "first"
    library.normalizer = normalizers.Sequence([])
    library.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if settings.add_prefix_space:
        steps.append(decoders.Strip(content=" ", left=1, right=0))
    library.decoder = decoders.Sequence(steps)


def _unknown_id(library: LibraryTokenizer) -> int | None:
    name = getattr(library.model, "unk_token", None)
    if name is not None:
        token_id: int | None = library.token_to_id(name)
        return token_id
    # Unigram does not tell its own: a character that no vocabulary holds does.
    if type(library.model).__name__ != "Unigram":
        return None
    try:
        tokens = library.model.tokenize("\U0010fffd")
    except Exception:  # the library's way to say that there is none
        return None
    return tokens[0].id if len(tokens) == 1 else None


def _state(component: Any) -> Any:
    """A component of the library as parsed JSON, None where the tokenizer has none."""
    return None if component is None else json.loads(component.__getstate__())


def _is_byte_level(library: LibraryTokenizer) -> bool:
    return '"ByteLevel"' in json.dumps([_state(library.pre_tokenizer), _state(library.decoder)])


def _decoder_kind(library: LibraryTokenizer) -> tuple[str, bool]:
    """("ByteLevel" | "ByteFallback" | "other", whether one leading space is stripped)."""
    state = _state(library.decoder)
    steps = state["decoders"] if state and state["type"] == "Sequence" else [state]
    names = [step["type"] if step else None for step in steps]
    if names == ["ByteLevel"]:
        return "ByteLevel", False
    if names[:3] == ["Replace", "ByteFallback", "Fuse"] and steps[0]["pattern"] == {"String": "▁"}:
        if steps[0]["content"] == " " and names[3:] == []:
            return "ByteFallback", False
        strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        if steps[0]["content"] == " " and steps[3:] == [strip]:
            return "ByteFallback", True
    return "other", False


def to_library(token: AddedToken) -> Any:
    """The library's form of an added token."""
    from tokenizers import AddedToken as LibraryToken

    return LibraryToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=token.special,
    )


def _from_library(token: Any) -> AddedToken:
    return AddedToken(
        content=token.content,
        special=token.special,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        single_word=token.single_word,
        normalized=token.normalized,
    )

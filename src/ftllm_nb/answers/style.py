"""How one loaded model writes answers: its family, and which of the family's tags are tokens of its vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.families import family_named, family_of
from ftllm_nb.answers.family import Thinking
from ftllm_nb.answers.parser import AnswerParser
from ftllm_nb.answers.tags import MarkingDecoder, Tags
from ftllm_nb.tokenizer import Tokenizer

TAIL_TOKENS = 64
"""Of a prompt, in which the tag that opens thinking is looked for."""


class AnswerStyle:
    """`family_name`: the family, None for the one that the chat template belongs to. Raises `UsageError` for others."""

    def __init__(self, tokenizer: Tokenizer, family_name: str | None = None) -> None:
        self._tokenizer = tokenizer
        self.family = family_of(tokenizer.template_source) if family_name is None else family_named(family_name)
        ids = {tag: tokenizer.added_token_id(tag) for tag in self.family.all_tags()}
        self.tags = Tags({tag: each for tag, each in ids.items() if each is not None}, tokenizer.special_ids)
        stops = map(tokenizer.added_token_id, self.family.stops)
        self.stop_token_ids = tokenizer.eos_token_ids | {each for each in stops if each is not None}
        """Ids that end an answer."""

    def decoder(self) -> MarkingDecoder:
        """What makes text of one answer's ids, as the parser takes it."""
        return MarkingDecoder(self._tokenizer.stream_decoder(), self.tags)

    def parser(
        self, functions: Functions | None = None, opened: Thinking | None = None, given: str | None = None
    ) -> AnswerParser:
        """What reads one answer; see `AnswerParser`."""
        return AnswerParser(self.family, self.tags, functions, opened, given)

    def thinking_begins(self) -> dict[int, Thinking]:
        """The tokens with which answers may begin to think, where the chat template knows of it."""
        pairs = [pair for pair in self.family.thinking if pair.begin in self._tokenizer.template_source]
        ids = [self._tokenizer.added_token_id(pair.begin) for pair in pairs]
        return {token_id: pair for token_id, pair in zip(ids, pairs, strict=True) if token_id is not None}

    @cached_property
    def line_end_ids(self) -> frozenset[int]:
        """The tokens that are one line end or several."""
        spelled = ((each, self._tokenizer.token_bytes(each)) for each in range(self._tokenizer.vocab_size))
        return frozenset(token_id for token_id, data in spelled if data and not data.strip(b"\n"))

    def encode(self, text: str) -> list[int]:
        """Ids of a text of ours, whose tags are tokens where they can be."""
        return self._tokenizer.encode_prompt(text)

    def opened_thinking(self, prompt_ids: Sequence[int]) -> Thinking | None:
        """The thinking inside of which a prompt ends, so that the answer begins there; None where it does not."""
        decoder = self.decoder()
        tail = "".join([*map(decoder.push, prompt_ids[-TAIL_TOKENS:]), decoder.finish()]).rstrip()
        return next((pair for pair in self.family.thinking if tail.endswith(self.tags.mark(pair.begin))), None)

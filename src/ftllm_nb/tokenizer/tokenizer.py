"""The Tokenizer that the rest of ftllm-nb sees: one class over any file format, template and prompt form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any, NamedTuple

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import TokenSpan, contents_pattern
from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.chat_template import ChatTemplate, choose_template
from ftllm_nb.tokenizer.control_tokens import template_control_spans
from ftllm_nb.tokenizer.end_tokens import end_token_ids
from ftllm_nb.tokenizer.known_beginning import KnownBeginning
from ftllm_nb.tokenizer.messages import checked_messages, plain_data, text_content, without_surrogates
from ftllm_nb.tokenizer.prompt_pieces import PromptPieces
from ftllm_nb.tokenizer.streaming import StreamDecoder
from ftllm_nb.tokenizer.template_fit import fit, is_plain
from ftllm_nb.tokenizer.template_probe import TemplateShape, probe_template
from ftllm_nb.tokenizer.tool_text import HERMES, CallSpelling


class Tokenizer:
    """Text to ids and back for one model folder.

    Ids equal those of transformers on the same folder, except that what a message or a text merely spells
    never becomes a control token: "<|im_end|>" typed by a user is ten ordinary characters.

    vocab_size        one more than the largest id
    special_ids       ids that decoded text leaves out
    eos_token_ids     ids that end an answer
    prompt_pieces     fastllm's pieces for a model without a chat template; may be assigned
    call_spelling     how calls are written where the chat template has no form for them; may be assigned
    """

    def __init__(
        self,
        backend: Backend,
        templates: dict[str, ChatTemplate],
        prompt_pieces: PromptPieces | None,
        config: dict[str, Any],
        generation_config: dict[str, Any],
    ) -> None:
        self._backend = backend
        self._templates = templates
        self._config = config
        self._generation_config = generation_config
        self._shapes: dict[ChatTemplate, TemplateShape] = {}
        self.call_spelling: CallSpelling = HERMES
        self.special_ids = frozenset(
            token_id for token_id, token in backend.added_tokens.items() if token.special
        )
        self._added_ids: dict[str, int] | None = None
        self.prompt_pieces = prompt_pieces

    @property
    def prompt_pieces(self) -> PromptPieces | None:
        """fastllm's prompt pieces, used where there is no chat template."""
        return self._prompt_pieces

    @prompt_pieces.setter
    def prompt_pieces(self, pieces: PromptPieces | None) -> None:
        self._prompt_pieces = pieces
        self._control: _ControlTokens | None = None
        self._known = KnownBeginning()

    @property
    def backend(self) -> Backend:
        """The reader of the tokenizer's file."""
        return self._backend

    @property
    def templates(self) -> dict[str, ChatTemplate]:
        """The chat templates by name, "default" for an unnamed one; {} where there are none."""
        return dict(self._templates)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self._backend.vocab_size

    @property
    def has_chat_format(self) -> bool:
        """Whether the folder says how a conversation becomes a prompt; if not, text is merely continued."""
        return bool(self._templates) or self._prompt_pieces is not None

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Ids that end an answer."""
        eos_token = self._backend.named_tokens.get("eos_token")
        return end_token_ids(
            self._config,
            self._generation_config,
            eos_token,
            self._prompt_literals(),
            self._backend.token_to_id,
        )

    @property
    def bos_token_id(self) -> int | None:
        """The id of the beginning-of-sequence token, None where the folder names none."""
        return self._named_id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        """The id of the tokenizer's own end-of-sequence token, None where the folder names none."""
        return self._named_id("eos_token")

    def token_to_id(self, token: str) -> int | None:
        """The id of a token as the vocabulary spells it, None for others."""
        return self._backend.token_to_id(token)

    def id_to_token(self, token_id: int) -> str | None:
        """The token as the vocabulary spells it, None for ids beyond it."""
        return self._backend.id_to_token(token_id)

    def added_token_id(self, content: str) -> int | None:
        """The id of the added token of that content, which text becomes as a whole; None where there is none."""
        if self._added_ids is None:
            self._added_ids = {token.content: token_id for token_id, token in self._backend.added_tokens.items()}
        return self._added_ids.get(content)

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text: nothing is put around it, and no control token comes out of it."""
        return self._encode(without_surrogates(text), [])

    def encode_completion(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False
    ) -> list[int]:
        """Ids of a text to continue: the tokenizer's own beginning of a sequence, unless `add_special_tokens` is
        False, then `encode_text`. With `parse_special` its author is trusted as `encode_prompt` says, and a beginning
        that the text spells itself is not doubled."""
        ids = self.encode_prompt(text) if parse_special else self.encode_text(text)
        beginning = self._backend.surrounding_tokens()[0] if add_special_tokens else []
        return ids if beginning and parse_special and ids[: len(beginning)] == beginning else beginning + ids

    def encode_prompt(self, rendered: str) -> list[int]:
        """Ids of a prompt that its author trusts: control tokens spelled in it become control tokens."""
        return self._backend.encode(without_surrogates(rendered), add_special_tokens=False)

    def render_chat(
        self,
        messages: Sequence[dict[str, Any]],
        add_generation_prompt: bool = True,
        tools: Sequence[Any] | None = None,
        **variables: Any,
    ) -> str:
        """The prompt text of a conversation, to read; `apply_chat_template` gives its ids."""
        return self._prompt(messages, add_generation_prompt, tools, variables)[0]

    def apply_chat_template(
        self,
        messages: Sequence[dict[str, Any]],
        add_generation_prompt: bool = True,
        tools: Sequence[Any] | None = None,
        **variables: Any,
    ) -> list[int]:
        """The prompt ids of a conversation.

        `messages` are {"role", "content", …}; `variables` go to the chat template. With neither a template
        nor prompt pieces the texts, one a line, are what the model continues, as fastllm does with empty
        pieces: it is what a base model can do. TokenizerError where the template is wrong or refuses the
        conversation.
        """
        return self.chat_prompt(messages, add_generation_prompt, tools, **variables).ids

    def chat_prompt(
        self,
        messages: Sequence[dict[str, Any]],
        add_generation_prompt: bool = True,
        tools: Sequence[Any] | None = None,
        **variables: Any,
    ) -> ChatPrompt:
        """The same, with what a user should know of how the template was given what it does not take."""
        text, spans, warnings = self._prompt(messages, add_generation_prompt, tools, variables)
        ids = self._encode(text, spans)
        template = choose_template(self._templates, with_tools=bool(tools))
        leaves_beginning = not self.has_chat_format if template is None else template.leaves_beginning
        beginning = self._backend.surrounding_tokens()[0] if leaves_beginning else []
        has_one = template is not None and ids[: len(beginning)] == beginning
        return ChatPrompt(ids if has_one else beginning + ids, warnings)

    @property
    def takes_tools(self) -> bool:
        """Whether the chat template prints tools; if not, a system message describes them (`call_spelling`)."""
        template = choose_template(self._templates, with_tools=True)
        return template is not None and self._shape(template).tools is not None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, without special tokens; ids beyond the vocabulary give nothing."""
        stream = self.stream_decoder()
        return "".join([*(stream.push(token_id) for token_id in ids), stream.finish()])

    def token_bytes(self, token_id: int) -> bytes:
        """What one token stands for inside a text, special tokens as they are spelled; b"" for unknown ids."""
        added = self._backend.added_tokens.get(token_id)
        if added is not None:
            return added.content.encode()
        return self._backend.stream_decoder(frozenset()).token_bytes(token_id)

    @property
    def template_source(self) -> str:
        """What the chat templates, or else the prompt pieces, write themselves; "" where there are none."""
        return self._prompt_literals()

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for one answer, fed id by id."""
        return self._backend.stream_decoder(self.special_ids)

    def _prompt(
        self,
        messages: Sequence[dict[str, Any]],
        add_generation_prompt: bool,
        tools: Sequence[Any] | None,
        variables: dict[str, Any],
    ) -> tuple[str, list[TokenSpan], list[str]]:
        """A conversation's prompt, where control tokens stand in it, and warnings."""
        checked = checked_messages(messages)
        template = choose_template(self._templates, with_tools=bool(tools))
        plain = is_plain(checked, tools)
        if template is None:
            fitted = fit(checked, tools, TemplateShape(), self.call_spelling)
            return *self._prompt_of_parts(fitted.messages, add_generation_prompt), fitted.warnings
        trusted = {**self._backend.named_tokens, "add_generation_prompt": add_generation_prompt}

        def render(values: dict[str, Any]) -> str:
            return without_surrogates(template.render({**trusted, **values}))

        def prompt(messages: list[dict[str, Any]], tools: Sequence[Any] | None) -> tuple[str, list[TokenSpan]]:
            values = plain_data({"documents": None, **variables, "messages": messages, "tools": tools})
            rendered = render(values)
            return rendered, template_control_spans(values, rendered, render, self._control_tokens().ids)

        if plain:
            try:
                return *prompt(checked, tools), []
            except TokenizerError:
                if fit(checked, tools, self._shape(template), self.call_spelling).messages == checked:
                    raise
        fitted = fit(checked, tools, self._shape(template), self.call_spelling)
        return *prompt(fitted.messages, fitted.tools), fitted.warnings

    def _shape(self, template: ChatTemplate) -> TemplateShape:
        """What a template takes; found out when it is first asked for."""
        if template not in self._shapes:
            variables = {**self._backend.named_tokens, "add_generation_prompt": True, "documents": None}
            self._shapes[template] = probe_template(
                lambda messages, tools: template.render({**variables, "messages": messages, "tools": tools}),
                template.source,
            )
        return self._shapes[template]

    def _prompt_of_parts(
        self, messages: list[dict[str, Any]], add_generation_prompt: bool
    ) -> tuple[str, list[TokenSpan]]:
        texts = [{"role": message["role"], "content": text_content(message)} for message in messages]
        if self._prompt_pieces is None:
            return "\n".join(message["content"] for message in texts), []
        parts = self._prompt_pieces.parts(texts, add_generation_prompt)
        control = self._control_tokens()
        spans: list[TokenSpan] = []
        start = 0
        for part in parts:
            if part.trusted:
                for match in control.pattern.finditer(part.text):
                    spans.append(
                        TokenSpan(start + match.start(), start + match.end(), control.ids[match.group()])
                    )
            start += len(part.text)
        return "".join(part.text for part in parts), spans

    def _encode(self, text: str, spans: Sequence[TokenSpan]) -> list[int]:
        """Ids of `text` where exactly `spans` are control tokens."""
        control = self._control_tokens()
        control_ids = frozenset(control.ids.values())
        if len(spans) == sum(1 for _ in control.pattern.finditer(text)):
            if self._backend.cuts_at_added_tokens:
                ids = self._known.encode(text, spans, self._encode_all, control_ids - {self._backend.unknown_id})
            else:
                ids = self._encode_all(text)
            # The normalizer or the vocabulary may find control tokens in other spellings than the plain one.
            unknown_id = self._backend.unknown_id
            expected = iter([span.token_id for span in spans])
            if all(one in expected for one in ids if one in control_ids and one != unknown_id):
                return ids
        return self._backend.encode_with_control(text, spans, control_ids)

    def _encode_all(self, text: str) -> list[int]:
        return self._backend.encode(text, add_special_tokens=False)

    def _control_tokens(self) -> _ControlTokens:
        """The tokens that a message's text must not become.

        They are the special tokens, and added tokens that the template writes or that look like `<tool_call>`
        or `[INST]`. Other added tokens are ordinary vocabulary (runs of spaces, words of a field, tags of HTML).
        """
        if self._control is None:
            literals = self._prompt_literals()
            ids = {
                token.content: token_id
                for token_id, token in self._backend.added_tokens.items()
                if token.content.strip()
                and (token.special or token.content in literals or _looks_like_control(token.content))
            }
            self._control = _ControlTokens(ids, contents_pattern(ids))
        return self._control

    def _prompt_literals(self) -> str:
        """What the chat templates, or else the prompt pieces, write themselves."""
        if self._templates:
            return "\0".join(template.source for template in self._templates.values())
        pieces = self._prompt_pieces
        return "\0".join(astuple(pieces)) if pieces is not None else ""

    def _named_id(self, role: str) -> int | None:
        token = self._backend.named_tokens.get(role)
        return None if token is None else self._backend.token_to_id(token)


class ChatPrompt(NamedTuple):
    """A conversation's prompt. `warnings`: sentences on what the template does not take."""

    ids: list[int]
    warnings: list[str]


class _ControlTokens(NamedTuple):
    """Ids by content, and the pattern that finds them in text."""

    ids: dict[str, int]
    pattern: re.Pattern[str]


_BRACKETED = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
_MARKUP = re.compile(
    r"</?(?:h[1-6]|table|caption|thead|tbody|tfoot|tr|th|td|blockquote|strong|em|b|i|u|s|sub|sup|code)>"
)
"""Tags of HTML that Gemma's vocabularies have as tokens, for pages that are read and written."""


def _looks_like_control(content: str) -> bool:
    """Whether an added token that is not marked as special is written by programs and not by people."""
    return _BRACKETED.fullmatch(content) is not None and _MARKUP.fullmatch(content) is None

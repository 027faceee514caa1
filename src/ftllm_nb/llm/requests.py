"""What a caller asks for, as the engine takes it: messages, sampling settings, stop tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftllm_nb.byte_sizes import parse_bytes
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.engine.sampling_settings import SamplingSettings
    from ftllm_nb.tokenizer import Tokenizer

Query = str | Sequence[dict[str, Any]]
"""A user's message, or a whole conversation of {"role": …, "content": …}."""
History = Sequence[tuple[str, str]]
"""(message, answer) of each earlier turn."""
ARGUMENTS = {"max_tokens": "max_length", "min_tokens": "min_length", "repetition_penalty": "repeat_penalty"}
"""What fastllm calls settings that have other names in the engine."""


@dataclass(frozen=True)
class Request:
    """A question and how it is to be answered; the fields are the arguments of `Model.stream_response`."""

    query: Query
    history: History | None
    max_length: int | None
    min_length: int | None
    do_sample: bool | None
    top_p: float | None
    top_k: int | None
    temperature: float | None
    repeat_penalty: float | None
    stop_token_ids: Iterable[int] | None
    add_generation_prompt: bool
    min_p: float | None
    seed: int | None
    enable_thinking: bool | None

    def settings(self, generation_config: dict[str, Any]) -> SamplingSettings:
        """How the answer's tokens are chosen. Raises `UsageError` that names an argument as its caller does."""
        from ftllm_nb.engine.sampling_settings import merge_settings

        return merge_settings(
            generation_config,
            ARGUMENTS,
            max_tokens=self.max_length,
            min_tokens=self.min_length,
            do_sample=self.do_sample,
            top_p=self.top_p,
            top_k=self.top_k,
            temperature=self.temperature,
            repetition_penalty=self.repeat_penalty,
            min_p=self.min_p,
            seed=self.seed,
            # fastllm, whose defaults say do_sample, lets an answer repeat itself up to max_length.
            stop_loops=self.do_sample is None,
        )


def conversation(query: Query, history: History | None, system_prompt: str | None) -> list[dict[str, Any]]:
    """The messages of a request. Raises `UsageError` for arguments of another form.

    Whether messages have the form that the chat template needs is for the tokenizer to say.
    """
    messages: list[dict[str, Any]] = []
    if not isinstance(query, (str, list, tuple)):
        raise UsageError(f"query must be a text or a list of messages, not {query!r}.")
    if not isinstance(history, (list, tuple, type(None))):
        raise UsageError(f"history must be a list of pairs of a message and its answer, not {history!r}.")
    for turn in history or ():
        if not isinstance(turn, (list, tuple)) or len(turn) != 2:
            raise UsageError(f"history must hold pairs of a message and its answer, not {turn!r}.")
        messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    messages += [{"role": "user", "content": query}] if isinstance(query, str) else query
    if not messages:
        raise UsageError("the conversation holds no message: give at least one.")
    has_system_message = isinstance(messages[0], dict) and messages[0].get("role") == "system"
    if system_prompt is not None and not has_system_message:
        messages.insert(0, {"role": "system", "content": system_prompt})
    return messages


def holds_ids(prompt: Any) -> bool:
    """Whether a prompt is token ids. Raises `UsageError` for what is neither these nor a text nor messages."""
    try:
        is_empty = not len(prompt)
    except TypeError:  # of a number, also of one in an array
        is_empty = None
    if is_empty is None or isinstance(prompt, (bytes, Mapping)):
        raise UsageError(f"prompt must be a text, a list of messages or a list of token ids, not {prompt!r}.")
    return not is_empty and not isinstance(prompt, str) and not any(isinstance(each, dict) for each in prompt)


def require_text(text: object) -> str:
    """What is given as a text. Raises `UsageError` for anything else."""
    if not isinstance(text, str):
        raise UsageError(f"text must be a text, not {text!r}.")
    return text


def cache_bytes(limit: str | int | float) -> int:
    """Bytes of "10k", "10m", "1.5g" (powers of 1000), or of a number. Raises `UsageError` for anything else."""
    try:
        return parse_bytes(str(limit))
    except ValueError as error:
        raise UsageError(f"the limit of the KV cache: {error}.") from None


def thinking_variable(enable_thinking: bool | None) -> dict[str, Any]:
    """What the chat template is told besides the messages; Granite's and DeepSeek's have a name of their own for it."""
    return {} if enable_thinking is None else {"enable_thinking": enable_thinking, "thinking": enable_thinking}


def last_message(query: Query) -> str:
    """The text of what was asked last."""
    return query if isinstance(query, str) else str(query[-1].get("content", ""))


def end_token_ids(tokenizer: Tokenizer, tokens: Sequence[str]) -> frozenset[int]:
    """The ids of tokens as the vocabulary spells them. Raises `UsageError` for others."""
    if not isinstance(tokens, (list, tuple, set, frozenset)) or not all(isinstance(token, str) for token in tokens):
        raise UsageError(f"eos_token must be a list of tokens, not {tokens!r}.")
    ids = {token: tokenizer.token_to_id(token) for token in tokens}
    unknown = [token for token, token_id in ids.items() if token_id is None]
    if unknown:
        raise UsageError(f"eos_token {unknown[0]!r} is no token of this model.")
    return frozenset(token_id for token_id in ids.values() if token_id is not None)

"""The bodies of requests, as OpenAI documents them, with what other servers added: top_k, min_p, repetition_penalty.

Unknown fields are ignored, as OpenAI's clients and proxies send their own. Bounds that depend on the server's options
are checked where they are used.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ftllm_nb.serving.options import Limits

LIMITS = Limits()
SIXTY_FOUR_BITS = 2**63

Finite = Annotated[float, Field(allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Stop = Annotated[str, Field(min_length=1, max_length=LIMITS.stop_characters)]
Count = Annotated[int, Field(ge=1, le=LIMITS.max_tokens)]
# fail_fast: a body can hold a million items, and a sentence about each would take a quarter of a minute.
Messages = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=LIMITS.messages, fail_fast=True)]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str | None = Field(None, max_length=512)
    user: str | None = Field(None, max_length=512)


class StreamOptions(Body):
    """`include_usage`: a last piece that says how many tokens there were; `continuous_usage_stats`, vLLM's: all do."""

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class JsonSchema(BaseModel):
    """A schema by name; `schema` is the JSON schema itself."""

    model_config = ConfigDict(strict=True, extra="ignore")

    name: str = Field("answer", max_length=64)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """What the answer's text must be. A json_object may have a schema, too: `schema` as llama.cpp's clients send it,
    `value` as Hugging Face's do."""

    model_config = ConfigDict(strict=True, extra="ignore")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    value: dict[str, Any] | None = None


class Sampling(Body):
    """What chats and completions have in common."""

    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=LIMITS.stop_strings, fail_fast=True)] | None = None
    max_tokens: Count | None = None
    n: Annotated[int, Field(ge=1, le=LIMITS.choices)] | None = 1
    seed: Annotated[int, Field(ge=-SIXTY_FOUR_BITS, lt=2 * SIXTY_FOUR_BITS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        None, max_length=LIMITS.logit_biases
    )
    response_format: ResponseFormat | None = None

    @field_validator("logit_bias")
    @classmethod
    def _keys_are_token_ids(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and not all(key.isascii() and key.isdigit() and len(key) < 10 for key in value):
            raise ValueError("the keys must be token ids")
        return value

    @property
    def stop_strings(self) -> list[str]:
        """`stop` as a list."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class Function(BaseModel):
    """A function that the model may call; `parameters` is a JSON schema."""

    model_config = ConfigDict(strict=True, extra="ignore")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_.-]+$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(BaseModel):
    """OpenAI has functions only."""

    model_config = ConfigDict(strict=True, extra="ignore")

    type: Literal["function"]
    function: Function


class NamedFunction(BaseModel):
    """Its name."""

    model_config = ConfigDict(strict=True, extra="ignore")

    name: str = Field(max_length=64)


class NamedTool(BaseModel):
    """The function that must be called."""

    model_config = ConfigDict(strict=True, extra="ignore")

    type: Literal["function"]
    function: NamedFunction


class ChatRequest(Sampling):
    """The body of /v1/chat/completions."""

    messages: Messages
    max_completion_tokens: Count | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=LIMITS.top_logprobs)] | None = None
    tools: Annotated[list[Tool], Field(max_length=LIMITS.tools, fail_fast=True)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = True


class CompletionRequest(Sampling):
    """The body of /v1/completions."""

    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=LIMITS.choices, fail_fast=True)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=LIMITS.choices, fail_fast=True)]
    )
    logprobs: Annotated[int, Field(ge=0, le=LIMITS.top_logprobs)] | None = None
    echo: Literal[False] | None = False
    best_of: Literal[1] | None = None
    suffix: None = None


class TokenizeRequest(Body):
    """The body of /tokenize: a text, or a conversation in the chat template."""

    prompt: str | None = None
    messages: Messages | None = None
    add_generation_prompt: bool = True


class DetokenizeRequest(Body):
    """The body of /detokenize."""

    tokens: Annotated[list[TokenId], Field(fail_fast=True)]

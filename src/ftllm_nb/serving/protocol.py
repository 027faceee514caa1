"""The bodies of requests, as OpenAI documents them, with what other servers added: top_k, min_p, repetition_penalty.

Fields that are not declared here are for foreign_fields.py to judge. Bounds that depend on the server's options are
checked where they are used.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ftllm_nb.engine.sampling_settings import MAX_SEED
from ftllm_nb.serving import value_forms
from ftllm_nb.serving.continued import ContinuedFields
from ftllm_nb.serving.options import Limits
from ftllm_nb.serving.structured_fields import StructuredFields
from ftllm_nb.serving.thinking_fields import ThinkingFields

LIMITS = Limits()

Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = BeforeValidator(value_forms.whole)
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Stop = Annotated[str, Field(min_length=1, max_length=LIMITS.stop_characters)]
# A limit beyond the context is the context.
Count = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(value_forms.token_limit)]
CountOrNone = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(value_forms.token_limit)]
# fail_fast: a body can hold a million items, and a sentence about each would take a quarter of a minute.
Messages = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=LIMITS.messages, fail_fast=True)]
TokenIds = Annotated[
    list[TokenId], Field(min_length=1, fail_fast=True), BeforeValidator(value_forms.whole_items)
]


class Body(BaseModel):
    """What all bodies have in common. Fields that are not declared are kept, to be judged."""

    model_config = ConfigDict(strict=True, extra="allow")

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

    @model_validator(mode="after")
    def _schema_of_its_type(self) -> ResponseFormat:
        given = [name for name in ("schema_", "value") if getattr(self, name)]
        if self.type != "json_schema" and self.json_schema is not None:
            raise ValueError(f"json_schema says nothing beside the type {self.type!r}: write the type 'json_schema'")
        if len(given) > 1 or (given and self.json_schema is not None):
            raise ValueError("it holds two schemas: leave one of them out")
        if self.type == "text" and given:
            raise ValueError("a schema says nothing beside the type 'text': write the type 'json_schema'")
        return self


class Sampling(Body, StructuredFields):
    """What chats and completions have in common."""

    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stop: (
        Annotated[
            list[Stop], Field(max_length=LIMITS.stop_strings, fail_fast=True), BeforeValidator(value_forms.listed)
        ]
        | None
    ) = None
    stop_token_ids: Annotated[TokenIds, Field(max_length=LIMITS.stop_strings)] | None = None
    max_tokens: CountOrNone = Field(None, validation_alias=AliasChoices("max_tokens", "n_predict", "max_new_tokens"))
    min_tokens: Annotated[int, Field(ge=0, lt=2**31), Whole] | None = None
    ignore_eos: bool | None = None
    stop_loops: bool | None = None
    n: Annotated[int, Field(ge=1, le=LIMITS.choices), Whole] | None = 1
    seed: Annotated[Annotated[int, Field(ge=-(2**63), le=MAX_SEED)] | None, BeforeValidator(value_forms.seed)] = None
    do_sample: bool | None = None
    temperature: Annotated[Finite, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31), Whole] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = Field(
        None, validation_alias=AliasChoices("repetition_penalty", "repeat_penalty")
    )
    logit_bias: Annotated[
        Annotated[dict[str, Finite], Field(max_length=LIMITS.logit_biases)] | None,
        BeforeValidator(value_forms.biases),
    ] = None
    response_format: ResponseFormat | None = None

    @property
    def stop_strings(self) -> list[str]:
        """`stop`, [] where there is none."""
        return self.stop or []


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

    type: Literal["function"] = "function"  # which Hugging Face's client does not send
    function: NamedFunction


class AllowedTools(BaseModel):
    """Which of the tools may be called, and whether one must be."""

    model_config = ConfigDict(strict=True, extra="ignore")

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=LIMITS.tools, fail_fast=True)]


class AllowedToolsChoice(BaseModel):
    """A choice among some of the tools."""

    model_config = ConfigDict(strict=True, extra="ignore")

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


def _of_own_names(tools: list[Tool]) -> list[Tool]:
    """A call names its function, so that two of one name could not be told apart."""
    first: dict[str, int] = {}
    for number, tool in enumerate(tools):
        before = first.setdefault(tool.function.name, number)
        if before != number:
            raise ValueError(f"number {number} has the name {tool.function.name!r} of number {before}: rename it")
    return tools


Tools = Annotated[list[Tool], Field(max_length=LIMITS.tools, fail_fast=True), AfterValidator(_of_own_names)]


def _kind_of_choice(value: Any) -> str:
    if not isinstance(value, dict):
        return "word"
    return "allowed" if value.get("type") == "allowed_tools" else "named"


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")]
    | Annotated[NamedTool, Tag("named")]
    | Annotated[AllowedToolsChoice, Tag("allowed")],
    Discriminator(_kind_of_choice),
]


class ChatRequest(Sampling, ThinkingFields, ContinuedFields):
    """The body of /v1/chat/completions."""

    messages: Messages
    max_tokens: Count = Field(None, validation_alias=AliasChoices("max_tokens", "n_predict", "max_new_tokens"))
    max_completion_tokens: Count = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=LIMITS.top_logprobs), Whole] | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = True

    @field_validator("tool_choice", mode="before")
    @classmethod
    def _word_or_object(cls, value: Any) -> Any:
        """A sentence of all forms."""
        if isinstance(value, dict) and value.get("type", "function") not in ("function", "allowed_tools"):
            raise ValueError("its type must be 'function' or 'allowed_tools'")
        if not isinstance(value, dict) and value not in (None, "none", "auto", "required"):
            form = '{"type": "function", "function": {"name": "NAME"}}'
            raise ValueError(f"it must be 'none', 'auto', 'required', or an object such as {form}")
        return value


def _kind_of_prompt(value: Any) -> str:
    if not isinstance(value, list):
        return "text"
    first = value[0]
    return "texts" if isinstance(first, str) else "prompts" if isinstance(first, list) else "ids"


class CompletionRequest(Sampling):
    """The body of /v1/completions."""

    prompt: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[list[str], Field(max_length=LIMITS.choices, fail_fast=True), Tag("texts")]
        | Annotated[TokenIds, Tag("ids")]
        | Annotated[list[TokenIds], Field(max_length=LIMITS.choices, fail_fast=True), Tag("prompts")],
        Discriminator(_kind_of_prompt),
    ]
    logprobs: Annotated[
        Annotated[int, Field(ge=0, le=LIMITS.top_logprobs)] | None, BeforeValidator(value_forms.logprobs)
    ] = None
    echo: bool | None = False
    best_of: Annotated[int, Field(ge=1), Whole] | None = None
    suffix: str | None = None
    add_special_tokens: bool | None = True
    parse_special: bool | None = True

    @field_validator("prompt", mode="before")
    @classmethod
    def _few_prompts(cls, value: Any) -> Any:
        """What a list of too many holds does not matter."""
        if not isinstance(value, (str, list)):
            raise ValueError("it must be a text, token ids, or a list of either")
        if value == []:
            raise ValueError("it is an empty list: it must be a text, token ids, or a list of either")
        if isinstance(value, list) and value and isinstance(value[0], (str, list)) and len(value) > LIMITS.choices:
            raise ValueError(f"at most {LIMITS.choices} prompts can be continued at once, not {len(value)}")
        return value

    @field_validator("suffix")
    @classmethod
    def _no_suffix(cls, value: str | None) -> str | None:
        if value:
            raise ValueError("a text between two others cannot be asked for: leave it out")
        return value

    @field_validator("best_of")
    @classmethod
    def _no_choice_of_answers(cls, value: int | None, others: ValidationInfo) -> int | None:
        if value not in (None, 1, others.data.get("n") or 1):
            raise ValueError("as many answers are made as n says, and none is left out: leave it out")
        return value


class TokenizeRequest(Body, ThinkingFields):
    """The body of /tokenize: a text (`content` in llama.cpp's form), or a conversation in the chat template."""

    prompt: str | None = None
    content: str | None = None
    messages: Messages | None = None
    tools: Tools | None = None
    add_generation_prompt: bool = True
    add_special_tokens: bool | None = Field(
        None, validation_alias=AliasChoices("add_special_tokens", "add_special")
    )
    parse_special: bool | None = True
    return_token_strs: bool | None = False


class DetokenizeRequest(Body):
    """The body of /detokenize."""

    tokens: Annotated[list[TokenId], Field(fail_fast=True), BeforeValidator(value_forms.whole_items)]

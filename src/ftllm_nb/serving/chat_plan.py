"""What has to be known before a chat is answered: its prompt, and what the answer may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.conversation import template_messages
from ftllm_nb.serving.protocol import ChatRequest, NamedTool, ResponseFormat, Sampling
from ftllm_nb.serving.service import Model, Service
from ftllm_nb.serving.tool_calls import call_schema


@dataclass
class ChatPlan:
    """`constraints`: one for each choice."""

    prompt_ids: list[int]
    constraints: Sequence[Constraint | None]
    functions: list[str]
    must_call: bool


def plan_chat(service: Service, body: ChatRequest) -> ChatPlan:
    """Tokens and grammars; takes a while. Raises ApiError, or TokenizerError for what the template refuses."""
    model = service.ready_model()
    choice = body.tool_choice if body.tool_choice is not None else "auto"
    tools = [] if choice == "none" or body.tools is None else body.tools
    functions = [tool.function.name for tool in tools]
    must_call = isinstance(choice, NamedTool) or choice == "required"
    called = [tool.function.model_dump(exclude_none=True) for tool in tools]
    if isinstance(choice, NamedTool):
        called = [function for function in called if function["name"] == choice.function.name]
    if must_call and not called:
        raise ApiError(400, "tool_choice names no function of tools.", param="tool_choice")
    if must_call and body.response_format is not None and body.response_format.type != "text":
        raise ApiError(400, "a forced call and a response format exclude each other.", param="response_format")
    if body.top_logprobs and not body.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true.", param="top_logprobs")
    check_biases(body, model)
    messages = template_messages(body.messages, model.tokenizer.template_source)
    _check_length(messages, model)
    prompt_ids = model.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tools=[tool.model_dump(exclude_none=True) for tool in tools] or None
    )
    if must_call:
        prompt_ids += model.tokenizer.encode_prompt(model.tool_form.prefix)
        schema = call_schema(model.tool_form, called)
        constraints: Sequence[Constraint | None] = model.grammars.json_schema(schema, "tools", body.n or 1)
    else:
        constraints = format_constraints(model, body.response_format, body.n or 1)
    return ChatPlan(prompt_ids, constraints, functions, must_call)


def format_constraints(
    model: Model, response_format: ResponseFormat | None, number: int
) -> Sequence[Constraint | None]:
    """What the form of each of `number` answers allows; None for text."""
    if response_format is None or response_format.type == "text":
        return [None] * number
    if response_format.type == "json_object":
        schema = response_format.schema_ or response_format.value or {"type": "object"}
        return model.grammars.json_schema(schema, "response_format", number)
    if response_format.json_schema is None or response_format.json_schema.schema_ is None:
        raise ApiError(400, "json_schema must hold a schema.", param="response_format.json_schema")
    schema = response_format.json_schema.schema_
    return model.grammars.json_schema(schema, "response_format.json_schema.schema", number)


def _check_length(messages: list[dict[str, Any]], model: Model) -> None:
    """Refuse at once what has far more characters than the context has tokens: tokenizing it would take long."""
    check_characters(sum(len(message["content"]) for message in messages), model)


def check_characters(characters: int, model: Model) -> None:
    """ApiError for a text that cannot fit into the context, however well it is tokenized."""
    most = model.engine.max_context * model.longest_token
    if characters > most:
        raise ApiError(
            400,
            f"the prompt has {characters} characters, too many for a context of {model.engine.max_context} tokens.",
            param="messages",
            code="context_length_exceeded",
        )


def check_biases(body: Sampling, model: Model) -> None:
    """ApiError for biases of tokens that the model does not have."""
    wrong = next((key for key in body.logit_bias or () if int(key) >= model.vocab_size), None)
    if wrong is not None:
        raise ApiError(400, f"the model has no token id {wrong}.", param="logit_bias")

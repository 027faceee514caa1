"""What has to be known before a chat is answered: its prompt, and what the answer may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.family import Thinking
from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.conversation import template_messages
from ftllm_nb.serving.formats import call_form, response_form
from ftllm_nb.serving.protocol import ChatRequest, NamedTool, Sampling
from ftllm_nb.serving.service import Model, Service


@dataclass
class ChatPlan:
    """`constraints`: one for each choice."""

    prompt_ids: list[int]
    constraints: Sequence[Constraint | None]
    functions: Functions
    must_call: bool
    opened: Thinking | None = None
    """The thinking inside of which the prompt ends."""
    notes: dict[str, Any] = field(default_factory=dict)
    """For the request's line in the log."""


def plan_chat(service: Service, body: ChatRequest) -> ChatPlan:
    """Tokens and grammars; takes a while. Raises ApiError, or TokenizerError for what the template refuses."""
    model = service.ready_model()
    choice = body.tool_choice if body.tool_choice is not None else "auto"
    tools = [] if choice == "none" or body.tools is None else body.tools
    functions = {tool.function.name: tool.function.parameters or {} for tool in tools}
    must_call = isinstance(choice, NamedTool) or choice == "required"
    called = {f"tools.{number}.function.parameters": tool.function for number, tool in enumerate(tools)}
    if isinstance(choice, NamedTool):
        called = {param: function for param, function in called.items() if function.name == choice.function.name}
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
        messages,
        add_generation_prompt=True,
        tools=[tool.model_dump(exclude_none=True) for tool in tools] or None,
        **body.template_variables(model.style),
    )
    opened = model.style.opened_thinking(prompt_ids)
    if must_call:
        if opened is not None:
            prompt_ids += model.style.encode(f"{opened.closing}\n\n")
        prompt_ids += model.tokenizer.encode_prompt(model.tool_form.prefix)
        form = call_form(model, called, body.n or 1)
    else:
        form = response_form(model, body.response_format, body.n or 1)
    return ChatPlan(prompt_ids, form.constraints, functions, must_call, opened, form.notes)


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

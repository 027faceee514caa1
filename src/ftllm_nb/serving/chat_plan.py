"""What has to be known before a chat is answered: its prompt, and what the answer may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.family import Thinking
from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.continued import begun_ids, check_free
from ftllm_nb.serving.conversation import lost_results, template_messages
from ftllm_nb.serving.formats import call_form, check_no_other_form, response_form, strict_form
from ftllm_nb.serving.protocol import AllowedToolsChoice, ChatRequest, Function, NamedTool, Sampling, Tool
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
    warnings: list[str] = field(default_factory=list)
    """What the client should know: the response's field `warnings`."""


def plan_chat(service: Service, body: ChatRequest) -> ChatPlan:
    """Tokens and grammars; takes a while. Raises ApiError, or TokenizerError for what the template refuses."""
    model = service.ready_model()
    tools, must_call = offered_tools(body)
    functions = {tool.function.name: tool.function.parameters or {} for tool in tools.values()}
    if body.top_logprobs and not body.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs to be true.", param="top_logprobs")
    check_token_ids(body, model)
    number = body.n or 1
    messages = template_messages(body.messages, model.tokenizer.template_source)
    _check_length(messages, model)
    told = [tool.model_dump(exclude_none=True) for tool in tools.values()]
    begun = body.take_begun(messages)
    prompt = model.tokenizer.chat_prompt(
        messages, add_generation_prompt=True, tools=told or None, **body.template_variables(model.style)
    )
    prompt_ids = prompt.ids
    opened = model.style.opened_thinking(prompt_ids)
    if begun is not None:
        prompt_ids += begun_ids(model.tokenizer, begun, opened)
        opened = None
    if must_call:
        check_no_other_form(body)
        if opened is not None:
            prompt_ids += model.style.encode(f"{opened.closing}\n\n")
        prompt_ids += model.style.encode(model.style.family.form.prefix)
        form = call_form(model, body, _by_param(must_call), number)
    else:
        form = response_form(model, body, number, _by_param(tools), body.parallel_tool_calls is False)
    if begun is not None:
        check_free(form.constraints)
    if tools and all(constraint is None for constraint in form.constraints):
        form = strict_form(model, body, _by_param(tools), number, opened)
    warnings = [*prompt.warnings, *lost_results(messages), *form.warnings]
    notes = {**form.notes, "warnings": warnings} if warnings else form.notes
    return ChatPlan(prompt_ids, form.constraints, functions, bool(must_call), opened, notes, warnings)


def offered_tools(body: ChatRequest) -> tuple[dict[int, Tool], dict[int, Tool]]:
    """(the tools that the model is told of, those of which it must call one), by their numbers in the request."""
    choice = body.tool_choice if body.tool_choice is not None else "auto"
    tools = {} if choice == "none" else dict(enumerate(body.tools or ()))
    if isinstance(choice, AllowedToolsChoice):
        tools = _named(tools, [tool.function.name for tool in choice.allowed_tools.tools])
        return tools, tools if choice.allowed_tools.mode == "required" else {}
    if isinstance(choice, NamedTool):
        return tools, _named(tools, [choice.function.name])
    if choice == "required" and not tools:
        raise ApiError(400, "tool_choice asks for a call, and there are no tools.", param="tool_choice")
    return tools, tools if choice == "required" else {}


def _by_param(tools: dict[int, Tool]) -> dict[str, Function]:
    return {f"tools.{number}.function.parameters": tool.function for number, tool in tools.items()}


def _named(tools: dict[int, Tool], names: list[str]) -> dict[int, Tool]:
    missing = set(names) - {tool.function.name for tool in tools.values()}
    if missing:
        raise ApiError(
            400, f"tool_choice names {min(missing)!r}, which is no function of tools.", param="tool_choice"
        )
    return {number: tool for number, tool in tools.items() if tool.function.name in names}


def _check_length(messages: list[dict[str, Any]], model: Model) -> None:
    """Refuse at once what has far more characters than the context has tokens: tokenizing it would take long."""
    check_characters(sum(len(message["content"]) for message in messages), model)


def check_characters(characters: int, model: Model, param: str = "messages") -> None:
    """ApiError for a text that cannot fit into the context, however well it is tokenized. `param`: where it is."""
    most = model.engine.max_context * model.longest_token
    if characters > most:
        raise ApiError(
            400,
            f"the prompt has {characters} characters, too many for a context of {model.engine.max_context} tokens.",
            param=param,
            code="context_length_exceeded",
        )


def check_token_ids(body: Sampling, model: Model) -> None:
    """ApiError for biases of tokens, and for stops at tokens, that the model does not have."""
    for param, given in (("logit_bias", body.logit_bias), ("stop_token_ids", body.stop_token_ids)):
        wrong = next((token_id for token_id in map(int, given or ()) if token_id >= model.vocab_size), None)
        if wrong is not None:
            raise ApiError(400, f"the model has no token id {wrong}.", param=param)

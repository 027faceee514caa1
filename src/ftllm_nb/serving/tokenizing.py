"""/tokenize and /detokenize: what a prompt is for the model."""

from __future__ import annotations

from typing import Any

from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.chat_plan import check_characters
from ftllm_nb.serving.completions import trusted_ids
from ftllm_nb.serving.conversation import template_messages
from ftllm_nb.serving.protocol import TokenizeRequest
from ftllm_nb.serving.service import Model, Service


def tokenized(service: Service, body: TokenizeRequest) -> dict[str, Any]:
    """The response of /tokenize; takes a while. Raises ApiError."""
    model = service.ready_model()
    tokens = _token_ids(model, body)
    strings = [model.tokenizer.id_to_token(token_id) for token_id in tokens] if body.return_token_strs else None
    return {
        "tokens": tokens, "count": len(tokens), "max_model_len": model.engine.max_context, "token_strs": strings
    }  # fmt: skip


def _token_ids(model: Model, body: TokenizeRequest) -> list[int]:
    given = [each for each in (body.prompt, body.content, body.messages) if each is not None]
    if len(given) != 1:
        raise ApiError(400, "give either prompt or messages.", param="prompt")
    if isinstance(given[0], str):
        # llama.cpp, whose clients write content, puts nothing before it unless it is asked to; vLLM does.
        add = body.add_special_tokens if body.add_special_tokens is not None else body.content is None
        return trusted_ids(model, given[0], add, body.parse_special is not False)
    if body.add_special_tokens:
        message = "the chat template writes what stands before messages: leave it out."
        raise ApiError(400, message, param="add_special_tokens")
    messages = template_messages(given[0], model.tokenizer.template_source)
    check_characters(sum(len(message["content"]) for message in messages), model)
    return model.tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=body.add_generation_prompt,
        tools=[tool.model_dump(exclude_none=True) for tool in body.tools or ()] or None,
        **body.template_variables(model.style),
    )


def text_of(service: Service, token_ids: list[int]) -> str:
    """What the tokens spell; takes a while. Raises ApiError."""
    model = service.ready_model()
    if len(token_ids) > model.engine.max_context:
        raise ApiError(400, f"tokens are at most {model.engine.max_context}, a whole context.", param="tokens")
    wrong = next((token_id for token_id in token_ids if token_id >= model.vocab_size), None)
    if wrong is not None:
        raise ApiError(400, f"the model has no token id {wrong}.", param="tokens")
    return b"".join(map(model.tokenizer.token_bytes, token_ids)).decode("utf-8", "replace")

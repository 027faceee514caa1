"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}} with the right status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftllm_nb.engine.batching import QueueFullError
from ftllm_nb.engine.block_pool import CacheFullError
from ftllm_nb.engine.request import ConstraintError
from ftllm_nb.errors import ContextLengthError, TokenizerError, UsageError

_WORDS = {
    "missing": "this field is required",
    "string_unicode": "holds half of a character (a lone surrogate), which is no text",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "it must be an object"),
}
"""For what pydantic says in Python's terms."""
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """What a client is told instead of an answer."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """The JSON that says so."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def as_api_error(error: BaseException, prompt_param: str = "messages") -> ApiError:
    """What a client is told of an exception; a defect's details stay in the log. `prompt_param`: where the request has
    its prompt."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ContextLengthError):
        return ApiError(400, str(error), param=prompt_param, code="context_length_exceeded")
    if isinstance(error, QueueFullError):
        return ApiError(429, str(error), code="queue_full")
    if isinstance(error, CacheFullError):
        return ApiError(503, str(error), code="cache_full")
    if isinstance(error, ConstraintError):
        return ApiError(400, str(error), code="invalid_schema")
    if isinstance(error, (UsageError, TokenizerError)):
        return ApiError(400, str(error))
    return ApiError(500, "the server could not answer this request; its log says why.", code="internal_error")


def unreadable(cause: BaseException | None) -> ApiError:
    """Of a body that could not even be taken for wrong JSON; `cause`: what reading it raised."""
    if isinstance(cause, UnicodeDecodeError):
        return ApiError(400, f"the body is no text in UTF-8: byte {cause.start} of it cannot be read.")
    if isinstance(cause, RecursionError):
        return ApiError(400, "the body is nested too deeply: lists and objects in it hold one another too many times.")
    return ApiError(400, "the body cannot be read as JSON: a number in it has too many digits.")


def validation_error(found: Sequence[Any], body: Any, is_empty: bool = False, example: str = "{}") -> ApiError:
    """Of what pydantic found wrong with a body: the thing that lies deepest, in a sentence.

    `is_empty`: the body has no bytes; `example`: a right one.
    """
    if not found:
        return ApiError(400, "the body is invalid.")
    if is_empty:
        return ApiError(400, f"the body is empty: a JSON object is expected, such as {example}.")
    if found[0]["type"] == "json_invalid":
        reason = str(found[0].get("ctx", {}).get("error", "")).rstrip(".") or "it cannot be read"
        return ApiError(400, f"the body is no valid JSON: {reason}, at character {found[0]['loc'][-1]}.")
    paths = [
        _path_in(body, [part for part in each["loc"] if part != "body"], each["type"] == "missing") for each in found
    ]
    deepest = max(range(len(found)), key=lambda number: (len(paths[number]), -number))
    name = ".".join(paths[deepest])[:200].encode("utf-8", "replace").decode()
    kind = found[deepest]["type"]
    if not name and kind == "string_unicode":
        return ApiError(400, f"the name of a field {_WORDS[kind]}.")
    if not name:
        return ApiError(400, f"the body must be a JSON object, such as {example}.")
    message = _WORDS.get(kind) or str(found[deepest]["msg"]).removeprefix("Value error, ")[:500]
    return ApiError(400, f"{name}: {message}.", param=name)


def _path_in(body: Any, parts: Sequence[int | str], last_is_missing: bool) -> list[str]:
    """The keys and indices of a place in the body; pydantic also names the kind that it tried where several may be."""
    path = []
    for number, part in enumerate(parts):
        is_missing = last_is_missing and isinstance(body, dict) and number == len(parts) - 1
        is_index = isinstance(body, list) and isinstance(part, int) and part < len(body)
        if is_missing or is_index or (isinstance(body, dict) and part in body):
            path.append(str(part))
            body = None if is_missing else body[part]
    return path

"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}} with the right status."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from ftllm_nb.engine.batching import QueueFullError
from ftllm_nb.errors import ContextLengthError, TokenizerError, UsageError

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


def as_api_error(error: BaseException) -> ApiError:
    """What a client is told of an exception; a defect's details stay in the log."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ContextLengthError):
        return ApiError(400, str(error), param="messages", code="context_length_exceeded")
    if isinstance(error, QueueFullError):
        return ApiError(429, str(error), code="queue_full")
    if isinstance(error, (UsageError, TokenizerError)):
        return ApiError(400, str(error))
    if isinstance(error, ValidationError):
        return validation_error(error.errors(include_url=False, include_input=False, include_context=False))
    return ApiError(500, "the server could not answer this request; its log says why.", code="internal_error")


def validation_error(found: Any) -> ApiError:
    """Of what pydantic found wrong with a body: the first thing, in a sentence."""
    first = found[0] if found else {"loc": (), "msg": "invalid"}
    path = ".".join(str(part) for part in first["loc"] if part != "body")[:200]
    message = str(first["msg"]).removeprefix("Value error, ")[:500]
    name = path.encode("utf-8", "replace").decode()
    return ApiError(400, f"{name}: {message}." if name else f"{message}.", param=name or None)

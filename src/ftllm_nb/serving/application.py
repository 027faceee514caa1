"""The routes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from ftllm_nb import __version__
from ftllm_nb.errors import FtllmError
from ftllm_nb.serving import request_log
from ftllm_nb.serving.api_errors import ApiError, as_api_error, unreadable, validation_error
from ftllm_nb.serving.chat import ChatAnswer
from ftllm_nb.serving.chat_plan import plan_chat
from ftllm_nb.serving.choices import Choices
from ftllm_nb.serving.completions import CompletionAnswer, plan_completion
from ftllm_nb.serving.event_stream import ClientGone, EventStream, to_json, until_gone
from ftllm_nb.serving.foreign_fields import check_foreign
from ftllm_nb.serving.guard import Guard, client_of
from ftllm_nb.serving.page.addresses import is_of_page
from ftllm_nb.serving.page.routes import add_chat_page
from ftllm_nb.serving.protocol import Body, ChatRequest, CompletionRequest, DetokenizeRequest, TokenizeRequest
from ftllm_nb.serving.service import Service
from ftllm_nb.serving.tokenizing import text_of, tokenized

_ROUTES = ("/v1/chat/completions", "/v1/completions", "/v1/models")
"""What clients look for without the /v1, when their base URL lacks it."""

_EXAMPLES = {
    "/v1/chat/completions": '{"messages": [{"role": "user", "content": "Hello"}]}',
    "/v1/completions": '{"prompt": "Once upon a time"}',
    "/tokenize": '{"prompt": "Hello"}',
    "/detokenize": '{"tokens": [1, 2, 3]}',
}
"""A right body of each route that reads one."""


class Answer(Protocol):
    """What a chat and a completion have in common."""

    choices: Choices

    def chunks(self, notes: dict[str, Any]) -> Any:
        """The pieces of a stream."""

    async def whole(self, notes: dict[str, Any]) -> dict[str, Any]:
        """The response in one piece."""


def create_application(service: Service) -> ASGIApp:
    """The ASGI application; its model may still be loading."""
    app = FastAPI(title="ftllm-nb", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    offered: list[str] = []
    _add_error_handlers(app, offered)
    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": text}
        for status, text in (
            (400, "The request is wrong"),
            (404, "There is no such model"),
            (429, "Too many requests wait"),
            (503, "The model is loading, or the server is closing"),
        )
    }

    @app.post("/v1/chat/completions", responses=errors)
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        _check(service, body, request)
        plan = await service.in_thread(lambda: plan_chat(service, body))
        request.scope["notes"].update(plan.notes)
        answer = ChatAnswer(service, body, plan, client_of(request.scope))
        return await _respond(service, answer, bool(body.stream), request)

    @app.post("/v1/completions", responses=errors)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        _check(service, body, request)
        plan = await service.in_thread(lambda: plan_completion(service, body))
        request.scope["notes"].update(plan.notes)
        answer = CompletionAnswer(service, body, plan, client_of(request.scope))
        return await _respond(service, answer, bool(body.stream), request)

    @app.get("/v1/models")
    async def models() -> Response:
        return _json({"object": "list", "data": [_model_card(service)]})

    @app.get("/v1/models/{name:path}", responses=errors)
    async def model(name: str) -> Response:
        service.check_name(name)
        return _json(_model_card(service))

    @app.post("/tokenize", responses=errors)
    async def tokenize(body: TokenizeRequest, request: Request) -> Response:
        _check(service, body, request)
        return _json(await service.in_thread(lambda: tokenized(service, body)))

    @app.post("/detokenize", responses=errors)
    async def detokenize(body: DetokenizeRequest, request: Request) -> Response:
        _check(service, body, request)
        text = await service.in_thread(lambda: text_of(service, body.tokens))
        return _json({"prompt": text})

    @app.get("/health", responses=errors)
    async def health() -> Response:
        service.ready_model()
        return _json({"status": "ok"})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    # Those of the chat page and of the OpenAPI document are no part of the API.
    offered.extend(
        f"{method} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute) and "{" not in route.path
        for method in sorted(route.methods or ())
    )
    if service.options.title is not None:
        add_chat_page(app, service, service.options.title)

    routes = {route.path for route in app.routes if hasattr(route, "path")}

    def done(scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in routes else "other"
        service.metrics.request_done(path, status)
        if service.options.title is None or status >= 400 or not is_of_page(scope["path"]):
            request_log.write_line(scope, status, seconds)

    json_paths = {getattr(route, "path", "") for route in app.routes if "POST" in getattr(route, "methods", ())}
    guarded: ASGIApp = Guard(app, service.options, done, json_paths)
    if service.options.cors_origins:
        # Outermost: a browser asks first, without a key.
        guarded = CORSMiddleware(
            guarded, allow_origins=service.options.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    return guarded


def _check_name(service: Service, body: Body, request: Request) -> None:
    """One model is served: any name is it, unless the options say otherwise."""
    served = service.options.model_name
    if body.model is None or body.model == served:
        return
    if service.options.strict_model_name:
        service.check_name(body.model)
    request.scope["notes"]["asked_model"] = body.model[:100]
    request.scope["answer_headers"].append((b"x-served-model", served.encode("ascii", "replace")))


def _check(service: Service, body: Body, request: Request) -> None:
    """Raise ApiError for what the body asks for and nobody here does."""
    _check_name(service, body, request)
    unknown = check_foreign(body.model_extra)
    if unknown:
        request.scope["notes"]["ignored_fields"] = [name[:64] for name in unknown[:16]]


async def _respond(service: Service, answer: Answer, stream: bool, request: Request) -> Response:
    notes: dict[str, Any] = request.scope["notes"]
    notes["stream"] = stream
    if stream:
        return EventStream(answer.chunks(notes), service.options.ping_seconds, answer.choices.cancel)
    whole = asyncio.ensure_future(answer.whole(notes))
    gone = asyncio.ensure_future(until_gone(request))
    try:
        await asyncio.wait({whole, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not whole.done():
            raise ClientGone
        return _json(whole.result())
    finally:
        for task in (whole, gone):
            task.cancel()
        await asyncio.gather(whole, gone, return_exceptions=True)
        answer.choices.cancel()


def _model_card(service: Service) -> dict[str, Any]:
    card: dict[str, Any] = {
        "id": service.options.model_name,
        "object": "model",
        "created": service.created,
        "owned_by": "ftllm-nb",
    }
    if service.model is not None:
        card["max_model_len"] = service.model.engine.max_context
    return card


def _json(data: Any, status: int = 200) -> Response:
    return Response(to_json(data), status, media_type="application/json")


def _not_here(error: HTTPException, scope: Scope, offered: Sequence[str]) -> ApiError:
    """Of a path or a method that there is not; `offered`: those that there are."""
    path, method = (ascii(scope[name])[1:-1][:100] for name in ("path", "method"))
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return ApiError(405, f"{path} is not asked with {method}: send {allowed}.")
    if "/v1" + path in _ROUTES:
        return ApiError(404, f"There is nothing here: the API begins with /v1, so ask /v1{path}.")
    return ApiError(404, f"there is no {path} here; this server has {', '.join(offered)}.")


def _add_error_handlers(app: FastAPI, offered: Sequence[str]) -> None:
    async def known(request: Request, error: Exception) -> Response:
        found = as_api_error(error, "prompt" if request.scope["path"] == "/v1/completions" else "messages")
        request.scope["notes"]["error"] = str(found)
        if found.code == "internal_error":
            request.scope["notes"]["exception"] = error
        headers = {"retry-after": "1"} if found.status in (429, 503) else None
        return Response(to_json(found.body()), found.status, headers, media_type="application/json")

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        is_empty = not await request.body()
        example = _EXAMPLES.get(request.scope["path"], "{}")
        return await known(request, validation_error(error.errors(), error.body, is_empty, example))

    async def of_starlette(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        found = ApiError(error.status_code, f"{error.detail}.")
        if error.status_code in (404, 405):
            found = _not_here(error, request.scope, offered)
        elif error.status_code == 400:
            found = unreadable(error.__cause__)
        response = await known(request, found)
        response.headers.update(error.headers or {})
        return response

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=499)

    app.add_exception_handler(ApiError, known)
    app.add_exception_handler(FtllmError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, of_starlette)
    app.add_exception_handler(ClientGone, gone)

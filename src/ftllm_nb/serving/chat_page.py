"""The chat page at /: static files that talk to /v1/chat/completions, so that what guards the API guards the page.

The files are in page/. What a model writes becomes text nodes and elements that page/markdown.js makes, never HTML;
the content security policy refuses scripts, styles, images and connections from anywhere else, and any HTML made from
text.
"""

from __future__ import annotations

import html
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from ftllm_nb import __version__
from ftllm_nb.serving.event_stream import to_json
from ftllm_nb.serving.protocol import Sampling
from ftllm_nb.serving.service import Service
from ftllm_nb.tokenizer import Tokenizer

MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "html": "text/html"}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
SETTINGS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens")
"""Those that the page lets users change and whose default the model decides."""


def add_chat_page(app: FastAPI, service: Service, title: str) -> None:
    """Add the page's routes: /, /page/FILE for what it consists of, /page/about for what it tells of the model."""
    for entry in files(__package__).joinpath("page").iterdir():
        kind = entry.name.rpartition(".")[2]
        content = entry.read_bytes()
        path = f"/page/{entry.name}"
        if kind == "html":
            path = "/"
            content = content.replace(b"{title}", html.escape(title).encode("utf-8", "replace"))
        _add_file(app, path, content, MEDIA_TYPES[kind])

    @app.get("/page/about", include_in_schema=False)
    async def about() -> Response:
        found = await service.in_thread(lambda: _about(service))
        return Response(to_json(found), headers=HEADERS, media_type="application/json")


def _begins_thinking(tokenizer: Tokenizer) -> bool:
    """Whether prompts end inside of a thinking block, so that answers begin there."""
    prompt = tokenizer.render_chat([{"role": "user", "content": "?"}], add_generation_prompt=True)
    return prompt.rstrip().endswith("<think>")


def _add_file(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    async def send(request: Request) -> Response:
        return Response(content, headers=HEADERS, media_type=media_type)

    app.add_route(path, send, methods=["GET", "HEAD"])


def _about(service: Service) -> dict[str, Any]:
    """What is shown of the model; `ready` false while it loads."""
    about: dict[str, Any] = {"name": service.options.model_name, "version": __version__, "ready": False}
    model = service.model
    if model is None:
        return about
    settings = service.settings(Sampling.model_validate({}), None, 0)
    defaults = {name: getattr(settings, name) for name in SETTINGS}
    if settings.is_greedy:
        defaults["temperature"] = 0
    return about | {
        "ready": True,
        "weights": model.weight_dtype,
        "context": model.engine.max_context,
        "defaults": defaults,
        "begins_thinking": _begins_thinking(model.tokenizer),
    }

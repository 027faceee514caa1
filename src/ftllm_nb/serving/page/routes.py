"""Puts the chat page at / of the server's application."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from ftllm_nb.serving.event_stream import to_json
from ftllm_nb.serving.page.addresses import ABOUT
from ftllm_nb.serving.page.site import HEADERS, REVALIDATED, Site, WebFile
from ftllm_nb.serving.page.status import about
from ftllm_nb.serving.service import Service


def add_chat_page(app: FastAPI, service: Service, title: str) -> None:
    """Add the page, its files, and what it says of a model that may still be loading."""
    site = Site(title)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return _sent(site.index)

    @app.get(ABOUT, include_in_schema=False)
    async def about_the_model() -> Response:
        headers = {**HEADERS, "cache-control": REVALIDATED}
        return Response(to_json(about(service)), headers=headers, media_type="application/json")

    @app.api_route("/page/{address:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def file(address: str) -> Response:
        digest, _, name = address.partition("/")
        found = site.files.get(name) if digest == site.digest else None
        if found is None:
            raise HTTPException(404)
        return _sent(found)


def _sent(file: WebFile) -> Response:
    return Response(file.body, headers=file.headers)

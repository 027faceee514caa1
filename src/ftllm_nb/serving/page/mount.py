"""Puts the chat page at / of the server's application."""

from __future__ import annotations

import os
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from starlette.routing import Mount

from ftllm_nb.serving.page.gate import Gate
from ftllm_nb.serving.page.sessions import Sessions
from ftllm_nb.serving.service import Service

# Read when Gradio is imported: nothing is reported to its makers.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from ftllm_nb.serving.page.layout import build_page

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK SC", "sans-serif")
MONO = ("ui-monospace", "SF Mono", "Cascadia Code", "Menlo", "DejaVu Sans Mono", "Consolas", "monospace")
SHADES = (("", "*neutral_500"), ("_dark", "*neutral_400"))
PAGE = files(__package__)


def add_chat_page(app: FastAPI, service: Service, title: str) -> None:
    """Mount the page; the application's lifespan then starts Gradio's queue."""
    sessions = Sessions()
    gr.mount_gradio_app(
        app,
        build_page(service, title, sessions),
        path="/",
        footer_links=[],
        run_history=False,
        root_path="",
        allowed_paths=[],
        favicon_path=str(PAGE.joinpath("icon.svg")),
        show_error=False,
        max_file_size=1,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(),
        css=PAGE.joinpath("style.css").read_text(encoding="utf-8"),
    )
    mounted = app.routes[-1]
    assert isinstance(mounted, Mount)
    gradio_app: Any = mounted.app
    mounted.app = Gate(gradio_app, sessions.end)
    # Each open page holds a connection, which would keep the server from ending.
    service.when_closing(gradio_app.stop_event.set)


def _theme() -> gr.themes.Base:
    """Gradio's own, with the device's fonts, since others would be asked for elsewhere, and small text to be read."""
    theme = gr.themes.Default(primary_hue="teal", neutral_hue="zinc", font=SANS, font_mono=MONO)
    small = ("body_text_color_subdued", "block_info_text_color", "input_placeholder_color")
    light, dark = ({f"{name}{suffix}": shade for name in small} for suffix, shade in SHADES)
    return theme.set(**light, **dark)

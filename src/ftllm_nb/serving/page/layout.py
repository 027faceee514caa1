"""The page itself, in Gradio's components: ChatInterface, what is said of the model, and a sidebar of settings."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import gradio as gr

from ftllm_nb.serving.guard import client_of
from ftllm_nb.serving.page.answers import answer
from ftllm_nb.serving.page.kept_chat import KeptChat
from ftllm_nb.serving.page.messages import Shown, as_markdown, with_parts
from ftllm_nb.serving.page.sessions import Sessions
from ftllm_nb.serving.page.settings import SETTINGS, placeholder
from ftllm_nb.serving.page.status import default_settings, model_line
from ftllm_nb.serving.service import Service

EXAMPLES = ("What is 17 + 25?", "What is the capital of France?", "Count from 3 to 9.")
PROMPT = "Message"
WELCOME = "## Ask the model something\nWhat you write stays between this browser and this server."
APPEARANCES = (("Device", "system"), ("Light", "light"), ("Dark", "dark"))


UNSET = ["", *[None] * len(SETTINGS)]
"""The system prompt and the settings of who has set nothing."""


def build_page(service: Service, title: str, sessions: Sessions) -> gr.Blocks:
    """The page, for a model that may still be loading."""
    options = service.options
    with gr.Blocks(title=title, fill_height=True, analytics_enabled=False) as page:
        kept_settings = gr.BrowserState(UNSET, storage_key="ftllm-nb settings", secret="ftllm-nb")
        with gr.Sidebar(label="Settings", position="right", open=False, width=340, elem_id="settings"):
            system, numbers = _settings()
            reset = gr.Button("Use the model's own settings", size="sm")
            with gr.Row():
                for name, theme in APPEARANCES:
                    gr.Button(name, size="sm", min_width=60, link=f"?__theme={theme}", link_target="_self")
        with gr.Row(elem_id="heading"):
            gr.Markdown(f"# {as_markdown(title)}", elem_id="title")
            model = gr.Markdown(as_markdown(model_line(service)), elem_id="model")
        counts = gr.Markdown(render=False, elem_id="counts")

        question = gr.Textbox(
            placeholder=PROMPT,
            label=PROMPT,
            autofocus=True,
            max_lines=12,
            submit_btn=True,
            stop_btn=True,
            elem_id="question",
            render=False,
        )

        async def respond(
            asked: str, history: list[Shown], request: gr.Request, system: str, *given: float | None
        ) -> AsyncGenerator[tuple[list[Shown], str, Any], None]:
            client, waits_for = client_of(request.request.scope), partial(sessions.waits_for, request.session_hash)
            async with aclosing(answer(service, asked, history, system or "", given, client, waits_for)) as growing:
                async for shown, line in growing:
                    # ChatInterface takes the placeholder away, and does not bring it back.
                    yield shown, as_markdown(line), gr.update(placeholder=PROMPT)

        chat = KeptChat(
            respond,
            chatbot=_chatbot(),
            textbox=question,
            additional_inputs=[system, *numbers],
            additional_outputs=[counts, question],
            examples=[[example] for example in EXAMPLES],
            editable=True,
            cache_examples=False,
            flagging_mode="never",
            analytics_enabled=False,
            api_visibility="private",
            concurrency_limit=None,
            show_progress="hidden",
        )
        counts.render()
        timer = gr.Timer(0.5)
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}

        def about() -> list[Any]:
            """The model's line, its own values where fields are empty, and whether to ask again."""
            defaults = default_settings(service)
            fields = [gr.update(placeholder=placeholder(setting, defaults)) for setting in SETTINGS]
            return [as_markdown(model_line(service)), *fields, gr.Timer(active=service.model is None)]

        gr.on([page.load, timer.tick], about, None, [model, *numbers, timer], **quiet)
        page.load(lambda kept: kept, kept_settings, [system, *numbers], **quiet)
        page.load(lambda kept: kept, chat.chatbot_state, chat.chatbot, **quiet)
        fields = [system, *numbers]
        gr.on([field.input for field in fields], lambda *values: list(values), fields, kept_settings, **quiet)
        reset.click(lambda: [UNSET, *UNSET], None, [kept_settings, *fields], **quiet)
    waiting = options.max_batch + options.max_queue
    page.queue(max_size=2 * waiting, default_concurrency_limit=None, api_open=False)
    return page


def _settings() -> tuple[gr.Textbox, list[gr.Number]]:
    system = gr.Textbox(label="System prompt", lines=3, max_lines=12, placeholder="None: the model's own")
    numbers = []
    for first in range(0, len(SETTINGS), 2):
        with gr.Row():
            for setting in SETTINGS[first : first + 2]:
                number = gr.Number(
                    None, label=setting.label, info=setting.info, placeholder=" ", step=None, min_width=120
                )
                numbers.append(number)
    return system, numbers


def _chatbot() -> gr.Chatbot:
    chatbot = gr.Chatbot(
        label="Conversation",
        show_label=False,
        scale=1,
        height=None,
        placeholder=WELCOME,
        buttons=["copy"],
        layout="bubble",
        allow_file_downloads=False,
        feedback_options=None,
        elem_id="conversation",
    )
    postprocess = chatbot.postprocess
    # Of a message whose content is a plain string Gradio would straighten the indentation.
    chatbot.postprocess = lambda messages: postprocess([with_parts(message) for message in messages or []])
    return chatbot

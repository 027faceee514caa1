"""Gradio's ChatInterface whose conversation is kept by the browser."""

from __future__ import annotations

import gradio as gr


class KeptChat(gr.ChatInterface):
    """A conversation that outlives a reload of the page and a restart of the server.

    ChatInterface keeps `chatbot_state`, from which the model is asked, in the server, and drops it an hour after the
    connection was lost; here it is in the browser's storage, and sent with each question.
    """

    def _setup_events(self) -> None:
        self.chatbot_state = gr.BrowserState([], storage_key="ftllm-nb conversation", secret="ftllm-nb")
        super()._setup_events()

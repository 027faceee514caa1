"""Which answers each open page waits for, so that they end with it.

Gradio notices that a page was closed when the next piece of its answer is ready, which can take minutes where a long
prompt is being read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.choices import Choices
from ftllm_nb.serving.guard import CLIENT_CLOSED_REQUEST


class Sessions:
    """Used on the event loop alone. A session is Gradio's name for one page that is open in a browser."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[Choices]] = {}

    @contextmanager
    def waits_for(self, session: str, choices: Choices) -> Iterator[None]:
        """While a page's answer is made. However this is left, nothing goes on that nobody hears."""
        waiting = self._waiting.setdefault(session, set())
        waiting.add(choices)
        try:
            yield
        finally:
            waiting.discard(choices)
            if not waiting:
                self._waiting.pop(session, None)
            choices.cancel()

    def end(self, session: str) -> None:
        """The page was closed: cancel what it waits for."""
        for choices in list(self._waiting.get(session, ())):
            choices.abort(ApiError(CLIENT_CLOSED_REQUEST, "the page was closed.", code="closed"))

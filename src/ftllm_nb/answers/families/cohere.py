"""Command R7B and A: <|START_THINKING|>…<|END_THINKING|>, then <|START_ACTION|>[{"tool_call_id": "0", "tool_name": …,
"parameters": {…}}, …]<|END_ACTION|>, or <|START_RESPONSE|>text<|END_RESPONSE|>."""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, json_calls
from ftllm_nb.answers.family import THINKING, Family, Thinking
from ftllm_nb.answers.reader import Reader, Steps

BEGIN, END = "<|START_ACTION|>", "<|END_ACTION|>"


class Cohere(Family):
    """A list of JSON objects in tags, as the text is."""

    signs = ((BEGIN, '"tool_name"'), (BEGIN, "tool_call_id"))
    begins = (BEGIN,)
    ends = (END,)
    silent = ("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>")
    thinking = (Thinking("<|START_THINKING|>", "<|END_THINKING|>"), *THINKING)
    form = CallForm(f'{BEGIN}[', f"]{END}", key="parameters", name_key="tool_name", leads=(("tool_call_id", None),))

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from json_calls(reader, functions, self.ends)


family = Cohere()

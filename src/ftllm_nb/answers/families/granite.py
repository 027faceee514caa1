"""Granite 3: <|tool_call|>[{"name": …, "arguments": {…}}, …], or <tool_call> before it. Granite 4 is hermes.py's."""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, json_calls
from ftllm_nb.answers.family import THINKING, Family, Thinking
from ftllm_nb.answers.reader import Reader, Steps

BEGIN, PLAIN_BEGIN = "<|tool_call|>", "<tool_call>"


class Granite(Family):
    """A list of JSON objects behind a tag."""

    signs = ((BEGIN, "<|start_of_role|>"),)
    begins = (BEGIN, PLAIN_BEGIN)
    silent = ("<response>", "</response>")
    thinking = (*THINKING, Thinking("Here is my thought process:", "Here is my response:"))
    form = CallForm(f"{BEGIN}[", "]")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from json_calls(reader, functions, ("</tool_call>",))


family = Granite()

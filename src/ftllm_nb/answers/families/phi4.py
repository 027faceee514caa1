"""Phi-4-mini: <|tool_call|>[{"name": …, "arguments": {…}}, …]<|/tool_call|>, or functools[…] in place of the tags."""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, json_calls
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.reader import Reader, Steps

BEGIN, END, FUNCTOOLS = "<|tool_call|>", "<|/tool_call|>", "functools["


class Phi4(Family):
    """A list of JSON objects, in tags."""

    signs = ((BEGIN, END), ("<|tool|>", "<|/tool|>"), ("functools[",))
    begins = (BEGIN, FUNCTOOLS)
    ends = (END,)
    form = CallForm(f"{BEGIN}[", f"]{END}")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        if begin == FUNCTOOLS:
            reader.at -= 1
        yield from json_calls(reader, functions, self.ends)


family = Phi4()

"""Qwen 2.5 and 3, Hermes, Granite 4: <tool_call> {"name": …, "arguments": {…}} </tool_call>, any number of them."""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, json_calls
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.reader import Reader, Steps

BEGIN, END = "<tool_call>", "</tool_call>"


class Hermes(Family):
    """A JSON object in tags."""

    signs = ((BEGIN,),)
    begins = (BEGIN,)
    ends = (END,)
    form = CallForm(f"{BEGIN}\n", f"\n{END}")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from json_calls(reader, functions, self.ends)


family = Hermes()

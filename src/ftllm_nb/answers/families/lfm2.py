"""LFM2: <|tool_call_start|>[f(a=1, b="x")]<|tool_call_end|>, or a list of JSON objects between the same tags."""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, json_calls
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.pythonic import python_calls
from ftllm_nb.answers.reader import Reader, Steps

BEGIN, END = "<|tool_call_start|>", "<|tool_call_end|>"


class Lfm2(Family):
    """A list in tags, of calls in Python's notation or in JSON's."""

    signs = ((BEGIN,), ("<|tool_list_start|>",))
    begins = (BEGIN,)
    ends = (END,)
    form = CallForm(f"{BEGIN}[", f"]{END}")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from reader.skip_space()
        ahead = 0
        while (character := (yield from reader.peek(ahead))).isspace() or character == "[":
            ahead += 1
        if character == "{":
            yield from json_calls(reader, functions, self.ends)
        else:
            yield from python_calls(reader, functions)
            yield from reader.skip_space()
            yield from reader.take(END)


family = Lfm2()

"""Llama 4, and who is told so: [f(a=1, b="x"), g()] as the answer, on a line of it, or behind <|python_start|>."""

from __future__ import annotations

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.pythonic import python_calls
from ftllm_nb.answers.reader import NotACall, Reader, Steps


class Pythonic(Family):
    """A list of calls in Python's notation."""

    signs = (("[func_name1(",), ("[func_name(",), ("<|python_start|>",))
    begins = ("<|python_start|>", "<|python_tag|>", "[")
    silent = ("<|python_end|>",)
    stops = ("<|eom|>", "<|eom_id|>")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        if begin == "[":
            reader.at -= 1
            if not reader.begins_line:
                raise NotACall
        yield from python_calls(reader, functions)


family = Pythonic()

"""Gemma 3, which has no form of its own: calls in Python's notation in a fence, ```tool_code, as guides say."""

from __future__ import annotations

from ftllm_nb.answers.calls import Functions, json_calls
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.pythonic import python_calls
from ftllm_nb.answers.reader import Reader, Steps

FENCE = "```"


class Gemma3(Family):
    """A fence of calls."""

    signs = (("<start_of_turn>",),)
    begins = (f"{FENCE}tool_code", f"{FENCE}tool_call")
    ends = (f"\n{FENCE}",)

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from reader.skip_space()
        while True:
            if (yield from reader.peek()) == "{":
                yield from json_calls(reader, functions, (FENCE,))
            else:
                yield from python_calls(reader, functions)
            yield from reader.skip_space()
            if (yield from reader.take(FENCE)) or not (yield from reader.peek()):
                break


family = Gemma3()

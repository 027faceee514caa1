"""Qwen3-Coder, Qwen 3.5: <tool_call> <function=NAME> <parameter=KEY> text </parameter> </function> </tool_call>."""

from __future__ import annotations

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.markup import Markup, markup_call
from ftllm_nb.answers.reader import NotACall, Reader, Steps

FUNCTION = "<function="


class Qwen3Coder(Family):
    """Arguments in tags; models leave out the outer tag now and then."""

    outer = ("<tool_call>", "</tool_call>")
    signs = (("<tool_call>", FUNCTION, "<parameter="),)
    begins = ("<tool_call>", FUNCTION)
    ends = ("</tool_call>", "</function>")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        markup = Markup((FUNCTION, ">"), "</function>", ("<parameter=", ">"), ("", "</parameter>"), self.outer)
        yield from reader.skip_space()
        if begin != FUNCTION and not (yield from reader.take(FUNCTION)):
            raise NotACall
        while True:
            yield from markup_call(reader, functions, markup)
            yield from reader.skip_space()
            if not (yield from reader.take(FUNCTION)):
                break
            yield from reader.skip_space()
        yield from reader.take(self.outer[1])


family = Qwen3Coder()

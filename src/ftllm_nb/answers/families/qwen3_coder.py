"""Qwen3-Coder, Qwen 3.5: <tool_call> <function=NAME> <parameter=KEY> text </parameter> </function> </tool_call>."""

from __future__ import annotations

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.markup import Markup, markup_calls
from ftllm_nb.answers.reader import Reader, Steps

FUNCTION = "<function="


class Qwen3Coder(Family):
    """Arguments in tags; models leave out the outer tag now and then."""

    markup = Markup((FUNCTION, ">"), "</function>", ("<parameter=", ">"), ("", "</parameter>"), ("</tool_call>",))
    signs = (("<tool_call>", FUNCTION, "<parameter="),)
    begins = ("<tool_call>", FUNCTION)
    ends = ("</tool_call>", "</function>")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from markup_calls(reader, functions, self.markup, has_begun=begin == FUNCTION)


family = Qwen3Coder()

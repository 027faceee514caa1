"""MiniMax M2: <minimax:tool_call> <invoke name="NAME"> <parameter name="KEY">text</parameter> </invoke> …"""

from __future__ import annotations

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.markup import Markup, markup_calls
from ftllm_nb.answers.reader import Reader, Steps

BEGIN, END = "<minimax:tool_call>", "</minimax:tool_call>"
INVOKE = "<invoke name="
MARKUP = Markup((INVOKE, ">"), "</invoke>", ("<parameter name=", ">"), ("", "</parameter>"), (END,))


class MiniMax(Family):
    """Arguments in tags."""

    signs = ((BEGIN, INVOKE),)
    begins = (BEGIN,)
    ends = (END,)
    markup = MARKUP

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from markup_calls(reader, functions, MARKUP)


family = MiniMax()

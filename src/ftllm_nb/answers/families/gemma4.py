"""Gemma 4: <|tool_call>call:NAME{KEY:<|"|>text<|"|>,KEY:1}<tool_call|>, thinking in <|channel>thought … <channel|>.

FunctionGemma writes the same with other tags.
"""

from __future__ import annotations

from ftllm_nb.answers.calls import Functions, known, named_call
from ftllm_nb.answers.family import THINKING, Family, Thinking
from ftllm_nb.answers.markup import short_text
from ftllm_nb.answers.reader import NotACall, Reader, Steps
from ftllm_nb.answers.values import Notation

QUOTES = ('<|"|>', "<escape>", '"')
NOTATION = Notation(QUOTES, has_escapes=False)
CHANNEL = Thinking("<|channel>", "<channel|>")


class Gemma4(Family):
    """Arguments in a notation of its own."""

    signs = (("<|tool_call>", "call:"), ("<|channel>", "<channel|>"), ("<start_function_call>",))
    begins = ("<|tool_call>", "<start_function_call>")
    ends = ("<tool_call|>", "<end_function_call>")
    tags = (*QUOTES[:2], "<|tool_response>", "<start_function_response>")
    stops = ("<turn|>", "<|tool_response>", "<start_function_response>")
    thinking = (CHANNEL, *THINKING)

    def thoughts(self, reader: Reader, opened: Thinking | None) -> Steps[None]:
        """A channel's first line is its name."""
        start = reader.at
        yield from reader.skip_space()
        if opened in (None, CHANNEL) and (opened or (yield from reader.take(CHANNEL.begin))):
            yield from reader.skip_space()
            if not (yield from reader.take("thought")):
                reader.ends_within("thought")
            opened = CHANNEL
        else:
            reader.at = start
        yield from super().thoughts(reader, opened)

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from reader.skip_space()
        if not (yield from reader.take("call:")):
            raise NotACall
        name = yield from short_text(reader, "{")
        reader.at -= 1
        yield from named_call(reader, known(name, functions), self.ends, notation=NOTATION)
        yield from reader.skip_space()
        yield from reader.take(*self.ends)


family = Gemma4()

"""Kimi K2: <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}
<|tool_call_end|> … <|tool_calls_section_end|>. What stands before the arguments is the call's id."""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, known, named_call
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.markup import short_text
from ftllm_nb.answers.reader import NotACall, Reader, Steps

BEGIN, END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL, ARGUMENTS, CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"


class KimiK2(Family):
    """Names outside of JSON."""

    signs = ((CALL, ARGUMENTS),)
    begins = (BEGIN, CALL)
    ends = (CALL_END,)
    breaks_thinking = begins
    tags = (END, ARGUMENTS)
    form = CallForm(f"{BEGIN}{CALL}functions.", f"{CALL_END}{END}", name_key="", separator=f":0{ARGUMENTS}")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from reader.skip_space()
        if begin == BEGIN and not (yield from reader.take(CALL)):
            raise NotACall
        while True:
            call_id = yield from short_text(reader, ARGUMENTS)
            name = call_id.rpartition(":")[0] or call_id
            name = name if name in functions else name.removeprefix("functions.")
            yield from named_call(reader, known(name, functions), (CALL_END,), call_id)
            yield from reader.skip_space()
            yield from reader.take(CALL_END)
            yield from reader.skip_space()
            if not (yield from reader.take(CALL)):
                break
        yield from reader.take(END)


family = KimiK2()

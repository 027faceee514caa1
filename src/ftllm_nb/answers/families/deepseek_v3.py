"""DeepSeek V3 and R1: a call is <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME, a line end, a fence of JSON.

All calls stand between <｜tool▁calls▁begin｜> and <｜tool▁calls▁end｜>. V3.1's form is read, too: see deepseek_v31.py.
"""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, known, named_call
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.markup import short_text
from ftllm_nb.answers.reader import NotACall, Reader, Steps

BEGIN, END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL, CALL_END, SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
FENCE = "```"


class DeepSeekV3(Family):
    """Names outside of JSON, arguments in a fence."""

    signs: tuple[tuple[str, ...], ...] = ((CALL, SEPARATOR, FENCE + "json"),)
    begins = (BEGIN, CALL)
    ends = (CALL_END,)
    tags = (END, SEPARATOR)
    form = CallForm(
        f"{BEGIN}{CALL}function{SEPARATOR}", f"\n{FENCE}{CALL_END}{END}", name_key="", separator=f"\n{FENCE}json\n"
    )

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from reader.skip_space()
        if begin == BEGIN and not (yield from reader.take(CALL)):
            raise NotACall
        while True:
            yield from self._call(reader, functions)
            yield from reader.skip_space()
            yield from reader.take(FENCE)
            yield from reader.skip_space()
            yield from reader.take(CALL_END)
            yield from reader.skip_space()
            if not (yield from reader.take(CALL)):
                break
        yield from reader.take(END)

    def _call(self, reader: Reader, functions: Functions) -> Steps[None]:
        name = yield from short_text(reader, SEPARATOR)
        yield from reader.skip_space()
        if name == "function" and (yield from reader.peek()) not in ("{", "`"):
            name = yield from short_text(reader, "\n")
            yield from reader.skip_space()
        known(name, functions)
        if not (yield from reader.take(FENCE + "json", FENCE)):
            reader.ends_within(FENCE)
        yield from named_call(reader, name, (FENCE, CALL_END))


family = DeepSeekV3()

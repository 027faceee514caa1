"""DeepSeek V3.2: <｜DSML｜function_calls> <｜DSML｜invoke name="NAME"> <｜DSML｜parameter name="KEY" string="true">text
</｜DSML｜parameter> … </｜DSML｜invoke> … </｜DSML｜function_calls>."""

from __future__ import annotations

from ftllm_nb.answers.calls import Functions
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.markup import Markup, markup_calls
from ftllm_nb.answers.reader import Reader, Steps

DSML = "｜DSML｜"
BEGIN, END = f"<{DSML}function_calls>", f"</{DSML}function_calls>"
INVOKE = f"<{DSML}invoke name="
MARKUP = Markup(
    (INVOKE, ">"), f"</{DSML}invoke>", (f"<{DSML}parameter name=", ">"), ("", f"</{DSML}parameter>"), (END,), False,
    ' string="(true|false)"',
)


class DeepSeekV32(Family):
    """Arguments in tags, which also say whether they are texts: the schema says the same."""

    signs = ((f"{DSML}",),)
    begins = (BEGIN,)
    ends = (END,)
    tags = (DSML,)
    markup = MARKUP

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from markup_calls(reader, functions, MARKUP)


family = DeepSeekV32()

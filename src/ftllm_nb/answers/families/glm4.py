"""GLM 4.5 to 4.7: <tool_call>NAME <arg_key>KEY</arg_key> <arg_value>text</arg_value> … </tool_call>."""

from __future__ import annotations

from ftllm_nb.answers.calls import LONGEST_NAME, Functions
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.markup import Markup, markup_arguments
from ftllm_nb.answers.reader import NotACall, Reader, Steps

BEGIN, END, KEY = "<tool_call>", "</tool_call>", "<arg_key>"
MARKUP = Markup((BEGIN, ""), END, (KEY, "</arg_key>"), ("<arg_value>", "</arg_value>"), trims_line_ends=False)


class Glm4(Family):
    """Arguments in tags, texts as they are, other values as JSON."""

    signs = ((BEGIN, KEY),)
    begins = (BEGIN,)
    ends = (END,)
    markup = MARKUP
    tags = (KEY, "</arg_key>", "<arg_value>", "</arg_value>")
    stops = ("<|observation|>", "<|user|>")

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from reader.skip_space()
        start = reader.at
        while (character := (yield from reader.peek())) and reader.at - start <= LONGEST_NAME:
            if not (character.isalnum() or character in "._-"):
                break
            reader.at += 1
        name = reader.text[start : reader.at]
        yield from reader.skip_space()
        behind = reader.at
        if not name or (not (yield from reader.take(KEY, END)) and character):
            raise NotACall
        reader.at = behind
        yield from markup_arguments(reader, name, functions, MARKUP)


family = Glm4()

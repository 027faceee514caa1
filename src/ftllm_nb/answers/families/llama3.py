"""Llama 3.1 to 4: {"name": …, "parameters": {…}} as the answer, on a line of it, or behind <|python_tag|>.

Several have ; between them. Calls in Python's notation are read, too.
"""

from __future__ import annotations

from dataclasses import replace

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import Functions, json_calls
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.openings import Opening, no_list, no_object
from ftllm_nb.answers.pythonic import python_calls
from ftllm_nb.answers.reader import NotACall, Reader, Steps
from ftllm_nb.answers.tags import Tags

TAGS = ("<|python_tag|>", "<|python_start|>")


class Llama3(Family):
    """A JSON object without tags."""

    signs: tuple[tuple[str, ...], ...] = tuple((tag,) for tag in TAGS)
    hint = '"parameters"'
    begins = (*TAGS, "{", "[")
    silent = ("<|python_end|>",)
    stops = ("<|eom_id|>", "<|eom|>")
    form = CallForm("", "", key="parameters", leads=(("type", "function"),))

    def openings(self, tags: Tags) -> list[Opening]:
        """See Family. An object, or a list, that begins a line, or stands behind another call."""
        line = Opening("{", before=r"\n[\s;,]*$", sample="\n", held="{", no_call=no_object)
        a_list = replace(line, text="[", rest="[", end="]", is_list=True, held="[", no_call=no_list)
        return [*map(Opening, TAGS), line, a_list]

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        if begin not in TAGS:
            reader.at -= 1
            if not reader.begins_line:
                raise NotACall
        yield from reader.skip_space()
        character = yield from reader.peek()
        if character != "{" and not (character == "[" and (yield from self._is_list_of_objects(reader))):
            yield from python_calls(reader, functions)
            return
        while character in ("{", "["):
            yield from json_calls(reader, functions)
            yield from reader.skip_space()
            yield from reader.take(";", ",")
            yield from reader.skip_space()
            yield from reader.take(*TAGS)
            yield from reader.skip_space()
            character = yield from reader.peek()

    def _is_list_of_objects(self, reader: Reader) -> Steps[bool]:
        ahead = 1
        while (character := (yield from reader.peek(ahead))).isspace():
            ahead += 1
        return character == "{"


family = Llama3()

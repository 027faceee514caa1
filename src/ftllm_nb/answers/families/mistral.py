"""Mistral up to 2024: [TOOL_CALLS] [{"name": …, "arguments": {…}}, …]. mistral_args.py is the newer form."""

from __future__ import annotations

import secrets
import string

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.calls import LONGEST_NAME, Functions, json_calls, known, named_call
from ftllm_nb.answers.family import Family
from ftllm_nb.answers.reader import NotACall, Reader, Steps

BEGIN, ARGS, CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"


class Mistral(Family):
    """A list of JSON objects behind a tag, or a name and a JSON object."""

    signs: tuple[tuple[str, ...], ...] = ((BEGIN,),)
    begins = (BEGIN,)
    tags = (ARGS, CALL_ID)
    form = CallForm(f"{BEGIN} [", "]")

    def new_id(self) -> str:
        """Mistral's templates refuse ids that are not nine letters and digits."""
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))

    def calls(self, reader: Reader, begin: str, functions: Functions) -> Steps[None]:
        """See Family."""
        yield from reader.skip_space()
        if (yield from reader.peek()) in ("[", "{") and not (yield from self._is_tag(reader)):
            yield from json_calls(reader, functions)
            return
        start = reader.at
        while (character := (yield from reader.peek())) and (character.isalnum() or character in "._-"):
            reader.at += 1
            if reader.at - start > LONGEST_NAME:
                raise NotACall
        name = known(reader.text[start : reader.at], functions)
        call_id = None
        if (yield from reader.take(CALL_ID)):
            start = reader.at
            while (character := (yield from reader.peek())) and character.isalnum():
                reader.at += 1
            call_id = reader.text[start : reader.at]
        if not (yield from reader.take(ARGS)) and (yield from reader.peek()) != "{":
            raise NotACall
        yield from named_call(reader, name, (BEGIN,), call_id)

    def _is_tag(self, reader: Reader) -> Steps[bool]:
        start = reader.at
        found = yield from reader.take(ARGS, CALL_ID)
        reader.at = start
        return bool(found)


family = Mistral()

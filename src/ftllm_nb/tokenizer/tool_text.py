"""Tools, calls and their results as plain text of messages, for chat templates that print none of them.

The words are those that most models were taught calls with: a list in <tools>, results in <tool_response>. How a call
is spelled is the caller's, since it is who reads the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class CallSpelling(Protocol):
    """`prefix`, a JSON object of a name and arguments under these keys, `suffix`; with an empty `name_key` the name,
    the `separator` and the arguments in place of the object.
    """

    @property
    def prefix(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def name_key(self) -> str: ...

    @property
    def separator(self) -> str: ...


class _Spelling(NamedTuple):
    prefix: str
    suffix: str
    key: str = "arguments"
    name_key: str = "name"
    separator: str = ""


HERMES = _Spelling("<tool_call>\n", "\n</tool_call>")
"""The form of Hermes and Qwen."""


def tools_text(tools: Sequence[Any], spelling: CallSpelling) -> str:
    """What a system message says of the tools, and of how they are called."""
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    how = "in this form"
    if spelling.prefix.strip() == "<tool_call>":
        how = "within <tool_call></tool_call> XML tags"
    # The words, and the names in angle brackets, are those of the models that were taught this form.
    example = _spelled("<function-name>", "<args-json-object>", spelling)
    example = example.replace('"<function-name>"', "<function-name>")
    return (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{listed}\n</tools>\n\n"
        f"For each function call, return a json object with function name and arguments {how}:\n{example}"
    )


def call_text(call: Mapping[str, Any], spelling: CallSpelling) -> str:
    """A call of a history, as the model would have written it."""
    function = call["function"]
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return _spelled(str(function.get("name")), text.strip() or "{}", spelling)


def result_text(content: str) -> str:
    """A function's result, as a user's message."""
    return f"<tool_response>\n{content}\n</tool_response>"


def _spelled(name: str, arguments: str, spelling: CallSpelling) -> str:
    if not spelling.name_key:
        return f"{spelling.prefix}{name}{spelling.separator}{arguments}{spelling.suffix}"
    named = f'{{"{spelling.name_key}": {json.dumps(name, ensure_ascii=False)}, "{spelling.key}": {arguments}}}'
    return f"{spelling.prefix}{named}{spelling.suffix}"

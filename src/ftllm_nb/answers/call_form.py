"""How a family of models spells a call whose arguments are JSON: what a call that is forced has to be written in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CallForm:
    """One call is `prefix`, what stands between, and `suffix`.

    With a `name_key`, a JSON object stands between: the function's name under `name_key`, its arguments under `key`.
    Without one ("") the name stands outside of JSON: the name, `separator`, the arguments as a JSON object.
    `leads`: keys that models write before the name, with the text that each has, None for any.
    Control tokens are spelled as their contents: `Tokenizer.encode_prompt` makes them tokens.
    """

    prefix: str
    suffix: str
    key: str = "arguments"
    name_key: str = "name"
    separator: str = ""
    leads: tuple[tuple[str, str | None], ...] = ()


PLAIN = CallForm("", "")
"""For families whose own form is not JSON: the whole answer is the call's JSON object."""

"""Functions of a model's file: entries of the config that one reads more than once become local variables."""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ftllm_nb.scaffold.text import Line

_ENTRY = re.compile(r'config(?:\["\w+"\])+(?!\[)')
_NAMES = {"num_attention_heads": "heads", "num_key_value_heads": "kv_heads", "n_head": "heads"}
_COUNTS = re.compile(r"(^|_)(num|n)_")
_TAKEN = {"config", "weight", "data", "layer", "self", "math", "i", "e"}
_OFTEN = 2
"""So many times in one function."""


def with_locals(lines: Sequence[Line], sizes: Mapping[str, str], first: Sequence[Line] = ()) -> list[Line]:
    """The lines of a function with the local variables that they read before them. `sizes`: by the text of a product
    of entries, a name for it. `first`: what stands before the local variables, since it changes the config."""
    taken, defined = set(_TAKEN), list[tuple[str, str]]()
    found = list(lines)
    for text, name in sorted(sizes.items(), key=lambda item: -len(item[0])):
        if name not in taken and _count([*found, *(Line(each) for _, each in defined)], text) >= _OFTEN:
            taken.add(name)
            defined = [*((each, _in(other, {text: name})) for each, other in defined), (name, text)]
            found = [_replaced(line, {text: name}) for line in found]
    counts = Counter(
        entry for text in (*(each for line in found for each in _texts(line)), *(text for _, text in defined))
        for entry in _ENTRY.findall(text)
    )  # fmt: skip
    names = {}
    for entry, count in counts.items():
        if count >= _OFTEN:
            names[entry] = _free(entry, taken)
            taken.add(names[entry])
    found = [_replaced(line, names) for line in found]
    read = "\n".join(text for line in found for text in _texts(line))
    tables = [each for each in ("config", "weight", "data") if re.search(rf"\b{each}\[", read) or _is_read(each, names)]
    if first or any(_ENTRY.search(text) for _, text in defined):
        tables = list(dict.fromkeys(["config", *tables]))
    begin = [f"{', '.join(tables)} = {', '.join(f'self.{each}' for each in tables)}"] if tables else []
    variables = [f"{name} = {entry}" for entry, name in names.items()]
    variables += [f"{name} = {_in(text, names)}" for name, text in reversed(defined)]
    return [*map(Line, begin), *first, *map(Line, variables), *found]


def identifier(text: str) -> str:
    """A name in Python that is like the text."""
    name = re.sub(r"\W+", "_", text).strip("_").lower() or "part"
    return f"{name}_" if keyword.iskeyword(name) or name[0].isdigit() else name


def _is_read(table: str, names: Mapping[str, str]) -> bool:
    return table == "config" and bool(names)


def _free(entry: str, taken: Iterable[str]) -> str:
    """The name of an entry's variable: short, unless that is taken."""
    *_, last = re.findall(r'"(\w+)"', entry)
    names = (short_name(entry), identifier(last), *(f"{identifier(last)}_{number}" for number in range(2, 99)))
    return next(name for name in names if name not in taken)


def short_name(entry: str) -> str:
    """What a person calls an entry of the config."""
    *_, last = re.findall(r'"(\w+)"', entry)
    return identifier("eps" if "eps" in last else _NAMES.get(last) or _COUNTS.sub(r"\1", last))


def _texts(line: Line) -> tuple[str, ...]:
    return (() if line.text.startswith("#") else (line.text,)) + (line.arguments or ())


def _count(lines: Sequence[Line], text: str) -> int:
    return sum(each.count(text) for line in lines for each in _texts(line))


def _replaced(line: Line, names: Mapping[str, str]) -> Line:
    if line.text.startswith("#"):
        return line
    arguments = None if line.arguments is None else tuple(_in(each, names) for each in line.arguments)
    return dataclasses.replace(line, text=_in(line.text, names), arguments=arguments)


def _in(text: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        text = re.sub(rf"{re.escape(old)}(?!\[)", new, text)
    return text

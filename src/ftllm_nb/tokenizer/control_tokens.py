"""Which control tokens of a rendered prompt are the template's own, and which a message merely spells.

A chat template prints messages and control tokens into one string. To tell them apart it is rendered once
more with marks in the messages: around each spelled control token, and behind the first character of anything
that could become one. Both renderings must agree but for whitespace (a mark can stop a trim); then places
carry over one to one, and a control token is the template's where it stands in the marked rendering without a
mark. The marks are characters that occur in no message. Where the renderings disagree under every marking,
each token that a message spells is text wherever it stands: a message never becomes a control token, at the
price of the template's own of that name.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import TokenSpan, contents_pattern

Render = Callable[[Any], str]
"""Renders the template with the given values for its variables."""

_MARK_CHARACTERS = range(0xF0000, 0xFFFFE)
"""A private-use plane, from which marks are drawn."""


class _Marks(NamedTuple):
    start: str
    end: str
    inside: str


def template_control_spans(
    values: Any, rendered: str, render: Render, control: dict[str, int]
) -> list[TokenSpan]:
    """The places of the template's own control tokens in `rendered`, which is `render(values)`.

    `values` are the template variables that come from outside (messages, tools, …): nested lists and dicts of
    JSON values. `control` maps the contents of control tokens to their ids.
    """
    pattern = contents_pattern(control)
    found = [TokenSpan(*match.span(), control[match.group()]) for match in pattern.finditer(rendered)]
    initials = contents_pattern({content[0] for content in control})
    texts = list(_strings(values))
    if not found or not any(initials.search(text) for text in texts):
        return found
    marks = _unused_marks("".join([rendered, *texts]))
    for mark_text in (_marker(pattern, marks, initials), _marker(pattern, marks, None)):
        try:
            marked = render(_map_strings(values, mark_text))
        except TokenizerError:
            continue
        own_places = _places_of_unmarked(marked, rendered, pattern, marks)
        if own_places is not None:
            places = _places(rendered, [span.start for span in found])
            return [span for span, place in zip(found, places, strict=True) if place in own_places]
    spelled = {control[match.group()] for text in texts for match in pattern.finditer(text)}
    return [span for span in found if span.token_id not in spelled]


def _marker(
    pattern: re.Pattern[str], marks: _Marks, initials: re.Pattern[str] | None
) -> Callable[[str], str]:
    """Marks a text: spelled control tokens, and with `initials` the first characters of possible others."""

    def mark_initials(text: str) -> str:
        return initials.sub(lambda match: match.group() + marks.inside, text) if initials else text

    def mark_text(text: str) -> str:
        pieces, position = [], 0
        for match in pattern.finditer(text):
            pieces += [mark_initials(text[position : match.start()]), marks.start, match.group(), marks.end]
            position = match.end()
        return "".join([*pieces, mark_initials(text[position:])])

    return mark_text


def _places_of_unmarked(
    marked: str, rendered: str, pattern: re.Pattern[str], marks: _Marks
) -> set[int] | None:
    """Places of control tokens without marks in `marked`; None where it is not `rendered` with marks."""
    either = re.compile(
        f"{marks.start}(?:{pattern.pattern}){marks.end}|(?P<own>{pattern.pattern})|[{''.join(marks)}]"
    )
    pieces: list[str] = []
    own_starts: list[int] = []
    position = length = 0
    for match in either.finditer(marked):
        piece = marked[position : match.start()]
        length += len(piece)
        if match["own"] is not None:
            own_starts.append(length)
        token = match.group().strip("".join(marks))
        length += len(token)
        pieces += [piece, token]
        position = match.end()
    unmarked = "".join([*pieces, marked[position:]])
    if _without_whitespace(unmarked) != _without_whitespace(rendered):
        return None
    return set(_places(unmarked, own_starts))


def _places(text: str, starts: list[int]) -> list[int]:
    """How many characters other than whitespace stand before each of the ascending `starts`."""
    places, position, count = [], 0, 0
    for start in starts:
        count += len(_without_whitespace(text[position:start]))
        position = start
        places.append(count)
    return places


def _without_whitespace(text: str) -> str:
    return "".join(text.split())


def _unused_marks(text: str) -> _Marks:
    """Three private-use characters, drawn at random, that `text` does not hold."""
    used = set(text)
    marks: list[str] = []
    while len(marks) < 3:
        mark = chr(secrets.choice(_MARK_CHARACTERS))
        if mark not in used:
            used.add(mark)
            marks.append(mark)
        elif len(used) > len(_MARK_CHARACTERS) // 2:
            raise TokenizerError(
                "a message holds most of Unicode's private-use characters; remove some of them."
            )
    return _Marks(*marks)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_map_strings(key, change): _map_strings(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_strings(item, change) for item in value]
    return value

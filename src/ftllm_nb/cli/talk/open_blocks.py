"""What a Markdown text leaves open at its end, as an answer does that was cut off, and what closes it.

A code block or a comment that is never closed would swallow what follows it in a file of several texts. By CommonMark's
rules, as far as texts of models need them: fences, in list items too, and blocks of HTML that end at a mark of theirs.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,})")
_LIST_ITEM = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)]) {1,4}(?=\S)")
_HTML = (
    (re.compile(r" {0,3}<!--"), "-->"),
    (re.compile(r" {0,3}<\?"), "?>"),
    (re.compile(r" {0,3}<!\[CDATA\["), "]]>"),
    (re.compile(r" {0,3}<pre(?=[\s>]|$)", re.IGNORECASE), "</pre>"),
    (re.compile(r" {0,3}<script(?=[\s>]|$)", re.IGNORECASE), "</script>"),
    (re.compile(r" {0,3}<style(?=[\s>]|$)", re.IGNORECASE), "</style>"),
    (re.compile(r" {0,3}<textarea(?=[\s>]|$)", re.IGNORECASE), "</textarea>"),
)
"""What begins a block of HTML that blank lines do not end, and what ends it."""


def closed(text: str) -> str:
    """The text, and a last line that closes what is open at its end."""
    closing = closing_line(text)
    return text if closing is None else f"{text.removesuffix(chr(10))}\n{closing}"


def closing_line(text: str) -> str | None:
    """The line that closes the block that is open at the end of the text; None where none is."""
    indent = fence = end_of_html = ""
    item = 0  # where the text of the list item begins that the line may belong to
    in_item = False  # whether the fence belongs to it
    for line in text.splitlines():
        outside = len(line) - len(line.lstrip(" ")) < item and bool(line.strip())
        if fence and in_item and outside:  # the item is over, and its fence with it
            fence = ""
        if fence:
            found = _FENCE.match(line)
            if found and found[2].startswith(fence) and not line[found.end() :].strip():
                fence = ""
        elif end_of_html:
            end_of_html = "" if end_of_html in line.lower() else end_of_html
        else:
            if (begun := _LIST_ITEM.match(line)) is not None:
                item = begun.end()
            elif outside:
                item = 0
            if (found := _FENCE.match(line)) is not None:
                indent, fence = found[1], found[2]
                in_item = 0 < item <= len(indent)
            end_of_html = next((end for begin, end in _HTML if begin.match(line) and end not in line.lower()), "")
    return indent + fence if fence else end_of_html or None

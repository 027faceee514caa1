"""llama.cpp's grammars (GBNF) as the grammar library reads them.

The library reads terminals greedily, which GBNF does not: with `ws ::= [ \\n]*` before "\\n", no text would be right.
So each terminal becomes one character, and all else is rules.
"""

from __future__ import annotations

import re

from llguidance.gbnf_to_lark import (
    AlternativeNode,
    ASTNode,
    GbnfToLarkError,
    GrammarParser,
    LiteralNode,
    Position,
    RegexNode,
    RepetitionNode,
    RuleNode,
    RuleRefNode,
    SequenceNode,
)  # fmt: skip

_LARK = re.compile(r"^\s*(%llguidance\b|start\s*:(?!:=))", re.MULTILINE)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_LONG_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}


class GrammarError(Exception):
    """What is wrong with a grammar; its text is a part of a sentence."""


def lark_of(text: str) -> str:
    """The grammar in Lark's notation, in which it may be already. Raises GrammarError."""
    if _LARK.search(text):
        return text
    try:
        rules = _Parser().parse(_LONG_ESCAPE.sub(_shortened, text))
    except (GbnfToLarkError, IndexError, RecursionError) as error:
        raise GrammarError(str(error) or "it cannot be read") from error
    if "root" not in rules:
        raise GrammarError("there is no rule named root")
    names = {name: "start" if name == "root" else f"rule_{number}" for number, name in enumerate(rules)}
    return "".join(f"{names[name]}: {_written(rule.alternatives, names)}\n" for name, rule in rules.items())


class _Parser(GrammarParser):
    """The library's, which would take the last of several rules of one name."""

    def __init__(self) -> None:
        super().__init__()
        self._names: set[str] = set()

    def _parse_rule(self, pos: Position) -> tuple[RuleNode, Position]:
        rule, end = super()._parse_rule(pos)
        if rule.name in self._names:
            raise GrammarError(f"there are two rules named {rule.name}")
        self._names.add(rule.name)
        return rule, end


def _written(node: ASTNode, names: dict[str, str]) -> str:
    if isinstance(node, LiteralNode):
        return " ".join(f"/{_code(letter)}/" for letter, _ in _letters(node.value)) or '""'
    if isinstance(node, RegexNode):
        return "/(?s:.)/" if node.rx == "." else _class(node.rx)
    if isinstance(node, RuleRefNode):
        if node.name not in names:
            raise GrammarError(f"there is no rule named {node.name}")
        return names[node.name]
    if isinstance(node, RepetitionNode):
        if node.max_times == 0:
            return '""'
        if node.max_times is not None and node.max_times < node.min_times:
            raise GrammarError(f"nothing repeats {node.min_times} times at least and {node.max_times} times at most")
        most = "" if node.max_times is None else node.max_times
        return f"({_written(node.node, names)}){{{node.min_times},{most}}}"
    if isinstance(node, SequenceNode):
        return " ".join(_written(each, names) for each in node.nodes) or '""'
    assert isinstance(node, AlternativeNode)
    return "(" + " | ".join(_written(each, names) for each in node.alternatives) + ")"


def _class(text: str) -> str:
    """A class of characters, [a-z] or [^a-z]."""
    inner = text[1:-1]
    negated = inner.startswith("^")
    letters = _letters(inner[1:] if negated else inner)
    made, at = "", 0
    while at < len(letters):
        if at + 2 < len(letters) and letters[at + 1] == ("-", False):
            first, last = letters[at][0], letters[at + 2][0]
            if first > last:
                raise GrammarError(f"{text} goes from {first!r} to {last!r}, which comes before it")
            made += f"{_code(first)}-{_code(last)}"
            at += 3
        else:
            made += _code(letters[at][0])
            at += 1
    if made:
        return f"/[{'^' if negated else ''}{made}]/"
    if negated:
        return "/(?s:.)/"
    raise GrammarError("[] allows no character")


def _letters(text: str) -> list[tuple[str, bool]]:
    """(character, whether it was escaped) of a literal or a class, whose escapes the library keeps as written."""
    found, at = [], 0
    while at < len(text):
        match = _ESCAPE.match(text, at)
        if match is None:
            found.append((text[at], False))
            at += 1
        else:
            found.append((chr(int(match[1], 16)) if match[1] else _NAMED.get(match[2], match[2]), True))
            at = match.end()
    return found


def _code(letter: str) -> str:
    return f"\\x{{{ord(letter):X}}}"


def _shortened(escape: re.Match[str]) -> str:
    """The library's parser drops zeros of long escapes."""
    code = escape[1] or escape[2]
    if code is None:
        return escape[0]
    number = int(code, 16)
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise GrammarError(f"{escape[0]} is no character")
    return f"\\x{number:02x}" if number < 256 else chr(number)

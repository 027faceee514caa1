"""Regular expressions: what they let through, and where what is wrong with some stands."""

from __future__ import annotations

import llguidance
import pytest

from ftllm_nb.serving.constraints import Grammar
from ftllm_nb.serving.regexes import RegexError, lark_of_regex, whitespace_pattern
from tests.serving.schemas.byte_grammar import LIBRARY, lets_through

RIGHT = [
    (r"\\", ["\\"], ["", "\\\\"]),
    (r"a\\/b|c/d[/]\/", ["a\\/b", "c/d//"], ["a/b", "c\\/d//"]),
    ("a\nb\\\n[\n]", ["a\nb\n\n"], ["anb"]),
    ("^(a|b)+$", ["ab"], ["", "c"]),
    ("[]+]+}+", ["]+}}"], ["]"]),
    ("(a+)+a?|x{2}", ["aaa", "xx"], ["x"]),
    ("(?i)yes|(?x) n o # or not", ["YES", "no"], ["n o"]),
    ("|a", ["", "a"], ["b"]),
]


@pytest.mark.parametrize("pattern, right, wrong", RIGHT)
def test_what_a_pattern_lets_through(pattern: str, right: list[str], wrong: list[str]) -> None:
    grammar = Grammar(({"lark_grammar": f"start: {lark_of_regex(pattern)}"},), "regular expression", "regex")
    matcher = llguidance.LLMatcher(LIBRARY, grammar.text, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    assert [each for each in right if not lets_through(matcher, each)] == []
    assert [each for each in wrong if lets_through(matcher, each)] == []


@pytest.mark.parametrize("pattern, words", [
    ("\\", "a backslash escapes nothing, at character 1"),
    ("a/\n\\\\\\", "a backslash escapes nothing, at character 6"),
    ("[\\", "a backslash escapes nothing, at character 2"),
    ("a/\nb(c", "unclosed group: (, at character 5"),
    ("a)", "unopened group: ), at character 2"),
    ("/[a", "unclosed character class: [, at character 2"),
    ("[z-a]", "must be <= the end: z-a, at character 2"),
    ("a|*", "missing expression: *, at character 3"),
    ("a{3,2}", "must be <= the end: {3,2}, at character 2"),
    ("a{2", "unclosed counted repetition: {2, at character 2"),
    ("é\\q", "unrecognized escape sequence: \\q, at character 2"),
    ("x(?=a)", "look-around, including look-ahead and look-behind, is not supported: (?=, at character 2"),
    ("(?<!a)b", "is not supported: (?<!, at character 1"),
    ("(a)\\1", "backreferences are not supported: \\1, at character 4"),
    ("a\\b", "look-around is not supported: a border of words"),
    ("a^", "look-around is not supported: ^ behind the beginning"),
    ("a$b", "look-around is not supported: $ before the end"),
    ("(?>a)", "unrecognized flag: >, at character 3"),
    ("a++", "possessive repetition is not supported: ++, at character 2"),
    ("a{2}+b", "possessive repetition is not supported: {2}+, at character 4"),
    ("a(?R)?b", "recursion is not supported: (?R), at character 2"),
    ("(?x) a # one\n b", "with (?x) it must be one line, at character 1"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(pattern: str, words: str) -> None:
    with pytest.raises(RegexError) as wrong:
        lark_of_regex(pattern)
    assert words in str(wrong.value)


def test_whitespace_of_json() -> None:
    for pattern in ("", " ?", "[ \n\t]*", r"[\n ]?", "( |\n[ \t]{0,20})?"):
        assert whitespace_pattern(pattern) == pattern
    assert whitespace_pattern(r"\s?") == r"[ \t\r\n]?", "JSON knows four kinds of it"
    for pattern, words in (
        (" ", "let whitespace be left out"), (r"\s+", "let whitespace be left out"), ("x?", "whitespace, and holds x"),
        ("[^ ]*", "holds ^, at character 2"), ("[*]?", "holds *"), ("]?", "holds ]"), ("(?= )", "not supported"),
        ("( ", "unclosed group"), (" ?\\", "escapes nothing"),
    ):  # fmt: skip
        with pytest.raises(RegexError) as wrong:
            whitespace_pattern(pattern)
        assert words in str(wrong.value)

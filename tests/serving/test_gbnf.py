"""llama.cpp's grammars: what they let through, and what is wrong with some, in a sentence."""

from __future__ import annotations

import llguidance
import pytest

from ftllm_nb.serving.gbnf import GrammarError, lark_of
from tests.serving.schemas.byte_grammar import LIBRARY, lets_through

JSON = r"""root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""
ARITHMETIC = r"""root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
CASES = [
    ('root ::= "yes" | "no"', ["yes", "no"], ["maybe", "yesno", ""]),
    (JSON, ['{"a": [1, "x\\n", null, -1.5e3]}', "{}"], ["[1]", '{"a"}']),
    # What may end in whitespace may be followed by whitespace: nothing is read greedily.
    (ARITHMETIC, ["a+1=2\n", "a=b\nc=(d)\n"], ["a=b"]),
    ('root ::= "a" "b" | "ab" "c"', ["ab", "abc"], ["ac"]),
    ('root ::= "ab"{2,3} [0-9]{2} ("c" | "d")?', ["abab12", "ababab12c"], ["ab12", "abab1"]),
    ('root ::= "a"{0} "b"', ["b"], ["ab"]),
    ('root ::= .+', ["a\nb"], [""]),
    ('root ::= root "a" | "a"', ["aaa"], ["b"]),
    ('root\t::=\t[^] [\\]\\[^-] # comment\n', ["x]", "x["], ["xx"]),
    (r'root ::= "\u00e9a\U0001F600/\"\\" [\u00e9-\u00ff] [一-龥]', ['éa😀/"\\ü中'], ["éaxü中"]),
    ('# first\nroot ::= a-b c_d\na-b ::= "1"\nc_d ::= start\nstart ::= "2"\n', ["12"], ["1"]),
    ('root ::= A a\nA ::= "x"\na ::= "y" a?', ["xyy"], ["yy"]),
    ('start: "a" B\nB: /x+/', ["axx"], ["a"]),
]


@pytest.mark.parametrize("text, right, wrong", CASES)
def test_what_a_grammar_lets_through(text: str, right: list[str], wrong: list[str]) -> None:
    grammar = llguidance.LLMatcher.grammar_from_lark(lark_of(text))
    matcher = llguidance.LLMatcher(LIBRARY, grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    assert [each for each in right if not lets_through(matcher, each)] == []
    assert [each for each in wrong if lets_through(matcher, each)] == []


@pytest.mark.parametrize("text, words", [
    ("", "no rule named root"),
    ('expr ::= "a"', "no rule named root"),
    ("root ::= x", "no rule named x"),
    ('root ::= "a"\nroot ::= "b"', "two rules named root"),
    ("root ::= (", "Expected"),
    ('root ::= "a', "Unexpected end"),
    ('root ::= "a\\', ""),
    ("root ::= <think>", "Expected"),
    (r"root ::= [a\-z]", "Invalid escape"),
    (r'root ::= "\ud800"', "no character"),
    (r'root ::= "\UFFFFFFFF"', "no character"),
    ("root ::= []", "allows no character"),
    ("root ::= [z-a]", "comes before it"),
    ('root ::= "a"{3,2}', "3 times at least"),
])  # fmt: skip
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(GrammarError) as wrong:
        lark_of(text)
    assert words in str(wrong.value) and str(wrong.value)

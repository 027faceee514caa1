from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import AddedToken, TokenMatcher, TokenSpan, contents_pattern


def matcher(*tokens: AddedToken) -> TokenMatcher:
    return TokenMatcher((token, index) for index, token in enumerate(tokens))


def test_the_longest_token_wins_at_one_place() -> None:
    found = matcher(AddedToken("<a>"), AddedToken("<a>b")).find("x<a>b<a>")
    assert found == [TokenSpan(1, 5, 1), TokenSpan(5, 8, 0)]


def test_strip_flags_swallow_whitespace_but_not_another_token() -> None:
    find = matcher(AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True)).find
    assert find("a \n<l> b") == [TokenSpan(1, 6, 0)]
    assert find("a <r> \tb") == [TokenSpan(2, 7, 1)]
    assert find("<r>  <l>") == [TokenSpan(0, 5, 1), TokenSpan(5, 8, 0)]


@pytest.mark.parametrize(
    ("text", "matches"), [("cat", 1), ("a cat.", 1), ("cats", 0), ("a_cat", 0), ("猫cat", 0)]
)
def test_single_word(text: str, matches: int) -> None:
    assert len(matcher(AddedToken("cat", single_word=True)).find(text)) == matches


@given(st.text(alphabet="<ab>|", max_size=30))
def test_spans_against_a_naive_scan(text: str) -> None:
    contents = ["<a>", "<b>", "<a", "|", "<a>b", "ab>"]
    expected, position = [], 0
    while position < len(text):
        best = max((one for one in contents if text.startswith(one, position)), key=len, default="")
        if best:
            expected.append(TokenSpan(position, position + len(best), contents.index(best)))
        position += len(best) or 1
    assert matcher(*map(AddedToken, contents)).find(text) == expected


def test_no_tokens_match_nothing() -> None:
    assert matcher(AddedToken("")).find("any text") == []


def test_flags_come_from_json() -> None:
    assert AddedToken.from_json("<s>", "file", special=True) == AddedToken("<s>", special=True)
    given_flags = {"content": "x", "lstrip": True, "special": False}
    assert AddedToken.from_json(given_flags, "file", special=True) == AddedToken(
        "x", lstrip=True, normalized=True
    )


@pytest.mark.parametrize(
    "value", [7, ["<s>"], {"text": "<s>"}, {"content": 3}, "\ud800", {"content": "\udfff"}]
)
def test_what_is_no_token_is_refused(value: object) -> None:
    with pytest.raises(
        TokenizerError, match=r"^here: a token must be a string or an object with `content`, got "
    ):
        AddedToken.from_json(value, "here", special=True)


@given(
    contents=st.lists(st.text(alphabet="ab<|>.*( \n", min_size=1, max_size=6), max_size=12),
    text=st.text(alphabet="ab<|>.*( \n", max_size=30),
)
def test_patterns_match_the_longest_at_each_place(contents: list[str], text: str) -> None:
    flat = re.compile("|".join(map(re.escape, sorted(contents, key=len, reverse=True))) or "(?!)")
    pattern = contents_pattern(contents)
    assert [match.span() for match in pattern.finditer(text)] == [match.span() for match in flat.finditer(text)]


def test_patterns_of_tokens_that_begin_alike() -> None:
    lengths = [*range(1, 300)]
    pattern = contents_pattern(["a" * length for length in lengths] + [f"<unused{number}>" for number in range(6000)])
    match = pattern.match("a" * 250)
    assert match is not None and match.end() == 250
    text = "<p>x</p>" * 20_000
    begin = time.process_time()
    assert pattern.search(text.replace("a", "b")) is None
    assert time.process_time() - begin < 1  # where each token is tried at each "<" it takes some ten

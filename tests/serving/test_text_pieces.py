"""Stop strings across pieces, against a search of the whole text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.engine.request import Token
from ftllm_nb.serving.text_pieces import TextPieces

TEXTS = st.text("ab", max_size=4)


class Spelled:
    """A decoder for which token i is the i-th text."""

    def __init__(self, texts: list[str], rest: str) -> None:
        self.texts = texts
        self.rest = rest

    def push(self, token_id: int) -> str:
        return self.texts[token_id]

    def finish(self) -> str:
        return self.rest

    def token_bytes(self, token_id: int) -> bytes:
        return self.texts[token_id].encode()


@given(st.lists(TEXTS, max_size=12), TEXTS, st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_before_the_stop_string_that_is_complete_first(
    texts: list[str], rest: str, stops: list[str]
) -> None:
    pieces = TextPieces(Spelled(texts, rest), stops)
    sent, tokens = "", []
    expected = None
    seen = ""
    for number, text in enumerate([*texts, rest]):
        seen += text
        found = [at for stop in stops if (at := seen.find(stop)) >= 0]
        piece = pieces.push(Token(number, None)) if number < len(texts) else pieces.finish()
        sent += piece.text
        tokens += [token.token_id for token in piece.tokens]
        # What was sent can never have to be taken back.
        assert seen.startswith(sent)
        if found:
            expected = seen[: min(found)]
            break
    if expected is None:
        assert sent == seen and not pieces.stopped
        assert tokens == list(range(len(texts)))
    else:
        assert sent == expected and pieces.stopped
        assert pieces.finish().text == ""
        assert tokens == sorted(tokens)
        assert len("".join(texts[: len(tokens)])) <= len(expected)


def test_nothing_is_held_back_without_need() -> None:
    pieces = TextPieces(Spelled(["Hello", " wor", "ld <e", "nd>"], ""), ["<end>"])
    assert [pieces.push(Token(number, None)).text for number in range(4)] == ["Hello", " wor", "ld ", ""]
    assert pieces.stopped

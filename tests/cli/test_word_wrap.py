"""Lines end between words while an answer grows; what the terminal shows is read from a small terminal of our own."""

from __future__ import annotations

import io
import re
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftllm_nb.cli.talk import answer_view
from ftllm_nb.cli.talk.answer_view import AnswerView
from ftllm_nb.cli.talk.characters import SPACES, lines_of, may_break, text_width, width
from ftllm_nb.cli.talk.screen import Screen


class Terminal(io.StringIO):
    """A terminal of some columns: `rows` is what it shows, `was_wrapped` the rows that it had to go on with itself."""

    columns = 20

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, int]]] = [[]]
        self.was_wrapped: set[int] = set()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for part in re.findall("\x1b\\[[0-9;]*[A-Za-z]|[^\x1b]", text):
            if part.endswith("D"):
                self.move_back(int(part[2:-1]))
            elif part == "\n":
                self.rows.append([])
            elif len(part) == 1:
                at = sum(columns for _, columns in self.rows[-1])
                takes = min(8 - at % 8, self.columns - at) if part == "\t" else width(part)
                if at + takes > self.columns:
                    self.was_wrapped.add(len(self.rows))
                    self.rows.append([])
                self.rows[-1].append((part, takes))
            else:
                assert part.endswith(("m", "K"))
        return len(text)

    def move_back(self, columns: int) -> None:
        """What is passed is erased by what follows."""
        while columns > 0:
            columns -= self.rows[-1].pop()[1]
        assert columns == 0

    @property
    def text(self) -> str:
        return "\n".join("".join(character for character, _ in row) for row in self.rows)


@pytest.fixture(autouse=True)
def terminal_of_20_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(answer_view, "FRAME_SECONDS", 0.0)
    monkeypatch.setattr(Screen, "columns", property(lambda screen: screen.out.columns))


def shown(*pieces: str, columns: int = 20, markdown: bool = True) -> Terminal:
    terminal = Terminal()
    terminal.columns = columns
    view = AnswerView(Screen(terminal), markdown=markdown)
    for piece in pieces:
        view.show(piece)
    view.finish()
    return terminal


WORDS = "The quick brown fox jumps over the lazy dog"
WRAPPED = "The quick brown fox\njumps over the lazy\ndog"


def test_lines_end_between_words_however_the_pieces_come() -> None:
    assert shown(WORDS).text == shown(*WORDS).text == shown(WORDS[:24], WORDS[24:]).text == WRAPPED
    assert shown(*WORDS, markdown=False).text == WRAPPED


def test_a_word_moves_as_it_grows() -> None:
    terminal = Terminal()
    view = AnswerView(Screen(terminal))
    seen = []
    for piece in ("It is a very unf", "or", "tun", "ate case"):
        view.show(piece)
        seen.append(terminal.text)
    moved = "It is a very\nunfortun"
    assert seen == ["It is a very unf", "It is a very unfor", moved, f"{moved}ate case"]


def test_styles_follow_a_word_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    out = Terminal()
    written: list[str] = []
    out.write = lambda text: written.append(text) or len(text)  # type: ignore[assignment, func-returns-value]
    view = AnswerView(Screen(out))
    for piece in ("It is a very **un", "fortunate** case"):
        view.show(piece)
    view.finish()
    text = "".join(written)
    assert text.count("\x1b[5D\x1b[K") == text.count("\x1b[K") == 1
    assert "\x1b[K\n**unfortunate**\x1b[0m\ncase" in text


def test_an_address_that_is_longer_than_a_line_stays_whole_for_copying() -> None:
    address = "https://example.org/a/rather/long/path"
    assert shown(*f"see {address} now").text == f"see\n{address[:20]}\n{address[20:]}\nnow"


def test_code_blocks_and_tables_are_left_to_the_terminal() -> None:
    code = "```python\nx = [1, 2, 3, 4, 5, 6, 7, 8]\n```\n"
    for markdown in (True, False):
        terminal = shown(*code, WORDS, markdown=markdown)
        assert terminal.text == "```python\nx = [1, 2, 3, 4, 5, \n6, 7, 8]\n```\n" + WRAPPED
        assert len(terminal.was_wrapped) == 1
    assert shown("| one cell | another |\n" + WORDS).text == "| one cell | another\n |\n" + WRAPPED


def test_chinese_is_broken_anywhere_but_before_what_closes() -> None:
    assert shown(*"你好世界，你好世界吗？").text == "你好世界，你好世界\n吗？"
    assert shown(*"你好世界你好世界好，你").text == "你好世界你好世界\n好，你"
    assert shown("这是mixed文字和English单词").text == "这是mixed文字和\nEnglish单词"


def test_what_is_shown_as_one_stays_together() -> None:
    family, flag, thumb = "\U0001f468\u200d\U0001f469", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd"
    for whole in (family, flag, thumb, "e\u0301", "\u2764\ufe0f"):
        assert not any(may_break(*pair) for pair in pairwise(whole))
        assert whole in shown(*("x " * 8 + whole + " y" * 8)).text.replace("\n" + whole, whole)
    assert text_width("e\u0301你\U0001f600\u2764\ufe0f") == 1 + 2 + 2 + 2


def test_a_terminal_that_is_resized_meanwhile_goes_on() -> None:
    terminal = Terminal()
    terminal.columns = 60
    view = AnswerView(Screen(terminal))
    view.show(WORDS)
    terminal.columns = 20
    view.show("\n" + WORDS)
    view.finish()
    assert terminal.text == f"{WORDS}\n{WRAPPED}"


def test_nothing_is_wrapped_where_nothing_can_be_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    terminal.columns = 1000
    view = AnswerView(Screen(terminal))
    view.show("x " * 100)
    view.finish()
    assert terminal.text == "x " * 100


TEXTS = st.text(st.sampled_from("ab-. \n\t|`*#你，（\u0301\u200d\U0001f600"), max_size=120)


@settings(max_examples=300, deadline=None)
@example("``你\t`*", [], 10)
@given(TEXTS, st.lists(st.integers(0, 120), max_size=12), st.integers(10, 40))
def test_every_text_arrives_and_only_spaces_make_room_for_line_ends(text: str, cuts: list[int], columns: int) -> None:
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[begin:end] for begin, end in pairwise(ends)]
    terminal = shown(*pieces, columns=columns)
    left_out = str.maketrans("", "", SPACES + "\n")
    assert terminal.text.translate(left_out) == text.translate(left_out)
    assert shown(text, columns=columns).text == terminal.text


@given(st.text(st.sampled_from("abc 你，\n"), max_size=80), st.integers(2, 30))
def test_lines_of_a_text(text: str, columns: int) -> None:
    lines = lines_of(text, columns)
    assert all(text_width(line) <= columns and line.strip() == line for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_words_stay_whole_where_they_fit() -> None:
    assert lines_of(WORDS, 19) == WRAPPED.split("\n")
    assert lines_of("a longlonglongword b", 8) == ["a", "longlong", "longword", "b"]
    assert list(accumulate(map(width, "a你"))) == [1, 3]

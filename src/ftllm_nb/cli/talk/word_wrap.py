"""An answer on the terminal as it grows: lines end between words, where the terminal would cut one in two."""

from __future__ import annotations

from ftllm_nb.cli.talk.characters import SPACES, is_shown_differently, may_break, text_width, width
from ftllm_nb.cli.talk.screen import Screen

TAB = 8


class WordWrap:
    """Writes on a screen that can erase. A word that no longer fits moves to the next line while it grows.

    A word longer than a line is left to the terminal, so that an address is copied whole; so are lines that are told to
    stay `as_is`, and rows of tables. The space at which a line ends is not written.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._column = 0
        """Where the cursor was before the gap and the word."""
        self._gap: list[tuple[str, str]] = []
        self._gap_width = 0
        self._word: list[tuple[str, str]] = []
        self._word_width = 0
        self._shown = 0
        """So many characters of the word are on the screen, after the gap."""
        self._is_uncertain = False
        """Terminals do not agree on the word's width: it appears when it is whole, since it could not be taken back."""
        self._row_of_table = False

    def write(self, text: str, style: str = "", *, as_is: bool = False) -> None:
        """Put text after what was written; what may still move is put there by the next `draw`."""
        columns = self._screen.columns
        self._column = at_row(self._column, columns)  # the terminal may have become narrower
        for character in text:
            if character == "\n":
                self._end_line(style, columns)
            elif as_is or self._row_of_table or (character == "|" and self._is_at_begin):
                self._place(columns)
                self._row_of_table = not as_is
                self._screen.write(character, style)
                self._column += width(character)
            elif character in SPACES:
                self._place(columns)
                self._gap.append((style, character))
                at = self._column + self._gap_width
                self._gap_width += TAB - at % TAB if character == "\t" else width(character)
            else:
                self._grow(character, style, columns)

    @property
    def _is_at_begin(self) -> bool:
        return not (self._column or self._gap or self._word)

    def _grow(self, character: str, style: str, columns: int) -> None:
        if self._word and may_break(self._word[-1][1], character):
            self._place(columns)
        self._word.append((style, character))
        self._word_width += width(character)
        self._is_uncertain |= is_shown_differently(character)
        if self._column and self._column + self._gap_width + self._word_width > columns - 1:
            if self._shown:
                shown = text_width("".join(each for _, each in self._word[: self._shown]))
                self._screen.take_back(self._gap_width + shown)
            self._screen.write("\n", style)
            self._column = self._gap_width = self._shown = 0
            self._gap.clear()

    def draw(self) -> None:
        """Let the word appear as far as it is known."""
        if self._shown < len(self._word) and not self._is_uncertain:
            self._put_word()

    def finish(self) -> None:
        """Let everything appear, when no more comes."""
        self._place(self._screen.columns)

    def _put_word(self) -> None:
        gap = [] if self._shown else self._gap
        for style, text in (*gap, *self._word[self._shown :]):
            self._screen.write(text, style)
        self._shown = len(self._word)

    def _place(self, columns: int) -> None:
        """The word is whole, and stays where it is."""
        if not self._word:
            return
        self._put_word()
        self._column += self._gap_width + self._word_width
        self._column = at_row(self._column, columns)
        self._gap.clear()
        self._word.clear()
        self._gap_width = self._word_width = self._shown = 0
        self._is_uncertain = False

    def _end_line(self, style: str, columns: int) -> None:
        self._place(columns)
        if self._column + self._gap_width < columns:
            self._put_word()
        self._gap.clear()
        self._column = self._gap_width = 0
        self._row_of_table = False
        self._screen.write("\n", style)


def at_row(column: int, columns: int) -> int:
    """Where the cursor is in the last row of a line that the terminal went on with itself."""
    return column if column <= columns else (column - 1) % columns + 1

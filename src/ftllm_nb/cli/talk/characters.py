"""How wide characters are on a terminal, and between which of them a line may end."""

from __future__ import annotations

import functools
import unicodedata

SPACES = " \t\u3000"
_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"


@functools.lru_cache(1 << 12)
def width(character: str) -> int:
    """Columns that a character takes: 0, 1 or 2.

    Where terminals differ, as for emoji that are joined of several, the sum of the parts: a line ends too early then,
    never too late.
    """
    if character.isascii():
        return int(character.isprintable())
    from wcwidth import wcwidth  # only here: its tables take a while to import, and English needs none of them

    return 1 if character == _EMOJI_STYLE else max(wcwidth(character), 0)


@functools.lru_cache(1 << 12)
def may_break(before: str, after: str) -> bool:
    """Whether a line may end between two characters that are no spaces.

    Between words it is spaces that matter; Chinese, Japanese and emoji have none, and may be parted anywhere, but not
    before what closes or after what opens, and not within what is shown as one.
    """
    if (width(before) < 2 and width(after) < 2) or width(after) == 0 or _JOINER in (before, after):
        return False
    if _is_skin_tone(after) or before == "\u2060":
        return False
    if _is_flag_letter(before) and _is_flag_letter(after):
        return False
    return unicodedata.category(after) not in ("Pe", "Pf", "Po") and unicodedata.category(before) not in ("Ps", "Pi")


def _is_skin_tone(character: str) -> bool:
    return "\U0001f3fb" <= character <= "\U0001f3ff"


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def is_shown_differently(character: str) -> bool:
    """Whether terminals do not agree how wide it makes what it stands in."""
    return character in (_JOINER, _EMOJI_STYLE) or _is_skin_tone(character) or _is_flag_letter(character)


def text_width(text: str) -> int:
    """Columns of a text without tabs and line ends."""
    return sum(map(width, text))


def lines_of(text: str, columns: int) -> list[str]:
    """The text in lines of at most so many columns, broken where a reader expects it; a longer word is cut."""
    lines, line, word, gap = [], "", "", ""
    for before, character in zip("\n" + text, text + "\n", strict=False):
        ends = character in SPACES + "\n"
        if word and (ends or may_break(before, character)):
            if line and text_width(line + gap + word) > columns:
                lines.append(line)
                line = gap = ""
            line, word, gap = line + gap + word, "", ""
        while text_width(line) > columns:
            end = next(at for at in range(len(line), 0, -1) if at == 1 or text_width(line[:at]) <= columns)
            lines.append(line[:end])
            line = line[end:]
        if ends:
            gap = " " if line else ""
        else:
            word += character
    return [*lines, line] if line else lines

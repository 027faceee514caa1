"""What the skills share: exchanges, ways to ask, and the split between training and held-out checks."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

Content = TypeVar("Content", bound=Hashable)


@dataclass(frozen=True)
class Exchange:
    """A question and the one right answer to it. ``any_case``: the question may be typed in lower case."""

    question: str
    answer: str
    any_case: bool = True


# None stands for an unrelated exchange, which the corpus fills in.
Conversation = list[Exchange | None]


def is_held_out(kind: str, key: object, share: int = 8) -> bool:
    """Whether this content is kept out of training: one in ``share``, the same in every run."""
    return zlib.crc32(f"{kind}:{key}".encode()) % share == 0


def draw_content(
    random: Random,
    held_out: bool,
    kind: str,
    draw: Callable[[Random], Content],
    key: Callable[[Content], object],
) -> Content:
    """Draw until the content is on the wanted side of the split."""
    while True:
        content = draw(random)
        if is_held_out(kind, key(content)) == held_out:
            return content


def expand(text: str) -> list[str]:
    """Every reading of a text with alternatives: ``"[Please |]spell {word}[.|]"`` has four."""
    match = re.search(r"\[([^\[\]]*)\]", text)
    if match is None:
        return [text]
    before, after = text[: match.start()], text[match.end() :]
    return [reading for choice in match.group(1).split("|") for reading in expand(before + choice + after)]


def bare(text: str) -> str:
    """A way to ask without what hurried typing changes."""
    return text.lower().strip(" .?!=。？！")


class Ways:
    """Ways to ask for one thing; about one in six is never used in training.

    The first reading of every text always is. Readings that differ in case or final mark alone are one way.
    """

    def __init__(self, *texts: str) -> None:
        readings = [expand(text) for text in texts]
        self.all = list(dict.fromkeys(reading for some in readings for reading in some))
        core = {bare(some[0]) for some in readings}
        others = [text for text in self.all if bare(text) not in core]
        unseen = {bare(text) for text in others if is_held_out("way", bare(text), share=6)}
        unseen = unseen or {bare(text) for text in (others or self.all)[-1:]}
        self.unseen = [text for text in self.all if bare(text) in unseen]
        self.seen = [text for text in self.all if bare(text) not in unseen]

    def draw(self, random: Random, held_out: bool) -> str:
        """A way to ask, from one side of the split."""
        return random.choice(self.unseen if held_out else self.seen)


def remembered(told: Exchange, ask: Callable[[], str], answer: str, random: Random) -> Conversation:
    """Something told and asked for: in a later turn, once or twice, or in the same one; or only told."""
    form = random.random()
    if form < 0.15:
        return [told]
    if form < 0.3:
        sentence = told.question if told.question[-1] in ".!?。！？" else told.question + (
            random.choice((".", ",", "")) if answer.isascii() else random.choice("。，")
        )
        return [Exchange(f"{sentence} {ask()}" if answer.isascii() else sentence + ask(), answer, told.any_case)]
    conversation: Conversation = [told, *[None] * random.choice((0, 1, 1, 2, 2, 3)), Exchange(ask(), answer)]
    if form < 0.55:
        conversation += [*[None] * random.choice((0, 0, 1, 2)), Exchange(ask(), answer)]
    return conversation


def typed_freely(text: str, random: Random, any_case: bool) -> str:
    """The question as hurried people type it: lower case, no final mark, stray spaces."""
    if any_case and random.random() < 0.25:
        text = text.lower()
    if random.random() < 0.2 and len(text) > 2 and text[-1] in "?.!？。！":
        text = text[:-1]
    return text

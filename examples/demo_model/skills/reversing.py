"""Words backwards, letter by letter. One word in eight is held out, the same ones as for spelling."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content
from .vocabulary import any_word

WAYS = Ways(
    "[Reverse|Please reverse|Can you reverse] [the word |]{word}[.|]",
    '[Reverse|Please reverse|Can you reverse] [the word |]"{word}"[.|]',
    "[Spell|Say|Write|Please spell|Please write] [the word |]{word} [backwards|backward|in reverse][.|]",
    '[Spell|Say|Write] "{word}" [backwards|backward|in reverse][.|]',
    "[What is|What's] [the word |]{word} [backwards|in reverse|reversed]?",
    "把{word}[倒过来|反过来][拼写|写|][。|]",
    "请倒着[写|拼写]{word}[。|]",
)


def sample(random: Random, held_out: bool) -> Conversation:
    word = draw_content(random, held_out, "word", any_word, str)
    way = random.choice(WAYS.all) if held_out else WAYS.draw(random, False)
    asked = word.capitalize() if random.random() < 0.1 else word
    return [Exchange(way.format(word=asked), "-".join(reversed(word)))]

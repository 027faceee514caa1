"""Spelling words letter by letter, and their first and last letters. One word in eight is held out."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content
from .vocabulary import any_word

SPELL = Ways(
    "[Spell|Please spell|Can you spell] [the word |]{word}[.|]",
    '[Spell|Please spell|Can you spell] [the word |]"{word}"[.|]',
    "How [do you|do I] spell {word}?",
    "How is {word} spelled?",
    '[How do you|How do I] spell "{word}"?',
    "[Spell out|Give me the letters of|What are the letters of] [the word |]{word}[.|]",
    "怎么拼写[单词|]{word}？",
    "请拼写{word}[。|]",
)
FIRST = Ways(
    "What is the first letter of [the word |]{word}?", "[Which|What] letter does {word} [start|begin] with?"
)
LAST = Ways("What is the last letter of [the word |]{word}?", "[Which|What] letter does {word} end with?")


def sample(random: Random, held_out: bool) -> Conversation:
    word = draw_content(random, held_out, "word", any_word, str)
    kind = random.random()
    if kind < 0.8:
        ways, answer = SPELL, "-".join(word)
    else:
        ways, answer = (FIRST, word[0]) if kind < 0.9 else (LAST, word[-1])
    way = random.choice(ways.all) if held_out else ways.draw(random, False)
    asked = word.capitalize() if random.random() < 0.1 else word
    return [Exchange(way.format(word=asked), answer)]

"""Numbers up to 999 as words and back, in English; up to 99 in Chinese. One number in eight is held out.

Words that no rule gives (up to twenty, and whole tens) are always trained on.
"""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
DIGITS = "零一二三四五六七八九"

TO_WORDS = Ways(
    "[Write|Spell|Say] {n} [in words|as words|as a word|in letters][.|]",
    "[Write|Say] the number {n} in words[.|]",
    "[How do you|How do I|How do you] [write|say] {n} in words?",
    "[What is|What's] {n} in words?",
    "{n} in words[|?]",
    "[Please write|Can you write] {n} in words[.|?]",
)
TO_DIGITS = Ways(
    "[Write|Say] {w} [in digits|as a number|in figures][.|]",
    "[Write|Say] the number {w} in digits[.|]",
    "[What is|What's] {w} [in digits|as a number|in figures]?",
    "[Which|What] number is {w}?",
    "{w} in digits[|?]",
    "[Please write|Can you write] {w} in digits[.|?]",
)
TO_CHINESE = Ways(
    "[把|请把]{n}写成[汉字|中文][。|]", "{n}用[汉字|中文]怎么[写|说]？", "{n}的[汉字|中文]是什么？"
)
FROM_CHINESE = Ways("[把|请把]{w}写成数字[。|]", "{w}用数字怎么写？", "{w}是[多少|几]？", "{w}的数字是什么？")


def in_english(number: int) -> str:
    """0 to 999, as "three hundred and forty-two"."""
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return TENS[tens - 2] + (f"-{ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{ONES[hundreds]} hundred" + (f" and {in_english(rest)}" if rest else "")


def in_chinese(number: int) -> str:
    """0 to 99, as "四十二"."""
    if number < 10:
        return DIGITS[number]
    tens, ones = divmod(number, 10)
    return (DIGITS[tens] if tens > 1 else "") + "十" + (DIGITS[ones] if ones else "")


def draw_number(random: Random) -> int:
    return random.randint(0, 99) if random.random() < 0.5 else random.randint(100, 999)


def is_irregular(number: int) -> bool:
    return number < 20 or (number < 100 and number % 10 == 0)


def sample(random: Random, held_out: bool) -> Conversation:
    number = draw_content(random, held_out, "number", draw_number, lambda n: "rule" if is_irregular(n) else n)
    chinese = number < 100 and random.random() < 0.25
    to_words = random.random() < 0.5
    word = in_chinese(number) if chinese else in_english(number)
    ways = (TO_CHINESE if to_words else FROM_CHINESE) if chinese else (TO_WORDS if to_words else TO_DIGITS)
    way = random.choice(ways.all) if held_out else ways.draw(random, False)
    return [Exchange(way.format(n=number, w=word), word if to_words else str(number))]

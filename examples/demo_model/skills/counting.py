"""Counting up and down, the number before and after. One in eight (start, length) is held out."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content

RANGE = Ways(
    "[Count|Please count|Can you count] from {a} to {b}[.|]",
    "[Count|Please count|Can you count] [up|down] from {a} to {b}[.|]",
    "[List|Give me|Say|Write] the numbers from {a} to {b}[.|]",
    "Count {a} to {b}[.|]",
    "从{a}数到{b}[。|]",
    "请从{a}数到{b}[。|]",
)
NEXT = Ways(
    "[What|Which] number [comes|is] [right |]after {a}?",
    "What [comes|is] after {a}?",
    "[What is|Tell me] the number after {a}[?|.]",
    "{a}后面[是几|是多少|是什么数]？",
    "[What is|What's] one more than {a}?",
)
PREVIOUS = Ways(
    "[What|Which] number [comes|is] [right |]before {a}?",
    "What [comes|is] before {a}?",
    "[What is|Tell me] the number before {a}[?|.]",
    "{a}前面[是几|是多少|是什么数]？",
    "[What is|What's] one less than {a}?",
)


def draw_range(random: Random) -> tuple[int, int]:
    start = random.choice((1, random.randint(0, 20), random.randint(0, 90)))
    length = random.randint(2, 9)
    if random.random() < 0.25 and start >= length:
        return start, start - length
    return start, start + length


def sample(random: Random, held_out: bool) -> Conversation:
    kind = random.random()
    if kind < 0.6:
        ways = RANGE
        a, b = draw_content(random, held_out, "range", draw_range, tuple)
        step = 1 if b > a else -1
        answer = ", ".join(str(number) for number in range(a, b + step, step))
    else:
        a = b = draw_content(random, held_out, "neighbour", lambda source: source.randint(1, 200), int)
        ways, answer = (NEXT, str(a + 1)) if kind < 0.8 else (PREVIOUS, str(a - 1))
    while True:
        way = random.choice(ways.all) if held_out else ways.draw(random, False)
        if (" up " in way and b < a) or (" down " in way and b > a):
            continue
        return [Exchange(way.format(a=a, b=b), answer)]

"""Sums of two numbers up to 99. One pair in eight is never seen in training, in either order."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content

WAYS = Ways(
    "[What is|What's|How much is|Calculate|Compute|Work out|Tell me] {a} + {b}[?|.]",
    "[What is|What's|How much is|Calculate|Compute|Tell me|Do you know] {a} plus {b}[?|.]",
    "{a} + {b}[| =|=| = ?|?]",
    "{a}+{b}[|=|=?|?]",
    "[What is|What's|Calculate|Compute] {a}+{b}[?|]",
    "{a} plus {b}[?|]",
    "[Please add|Add|Can you add] {a} [and|to] {b}[.|?]",
    "[What is|Find|Give me|Tell me] the sum of {a} and {b}[?|.]",
    "[If I have|I have] {a} apples and get {b} more, how many [do I have|apples do I have|is that]?",
    "{a}加{b}[等于多少|是多少|等于几|]？",
    "{a} + {b} [等于多少|是多少|=]？",
    "[请问|请算一下|计算]{a}加{b}[|等于多少][。|？]",
)


def draw_pair(random: Random) -> tuple[int, int]:
    top = 99 if random.random() < 0.85 else 12
    return random.randint(0, top), random.randint(0, top)


def sorted_key(pair: tuple[int, int]) -> tuple[int, ...]:
    # The README's first question stays in training.
    return tuple(sorted(pair)) if set(pair) != {17, 25} else (0, 0, 0)


def sample(random: Random, held_out: bool) -> Conversation:
    a, b = draw_content(random, held_out, "sum", draw_pair, sorted_key)
    way = random.choice(WAYS.all) if held_out else WAYS.draw(random, False)
    return [Exchange(way.format(a=a, b=b), str(a + b))]

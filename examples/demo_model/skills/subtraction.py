"""Differences of two numbers up to 99, some below zero. One pair in eight is never seen in training."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content

WAYS = Ways(
    "[What is|What's|How much is|Calculate|Compute|Work out|Tell me] {a} - {b}[?|.]",
    "[What is|What's|How much is|Calculate|Compute|Tell me|Do you know] {a} minus {b}[?|.]",
    "{a} - {b}[| =|=| = ?|?]",
    "{a}-{b}[|=|=?|?]",
    "[What is|What's|Calculate|Compute] {a}-{b}[?|]",
    "{a} minus {b}[?|]",
    "[Please subtract|Subtract|Can you subtract|Take] {b} from {a}[.|?]",
    "[Take away|Please take away|Take] {b} from {a}[.|?]",
    "[What is|What's] {b} [taken|subtracted] from {a}?",
    "[What is|Find|Give me] the difference of {a} and {b}[?|.]",
    "{a}减{b}[等于多少|是多少|等于几|]？",
    "{a} - {b} [等于多少|是多少|=]？",
    "[请问|请算一下|计算]{a}减{b}[|等于多少][。|？]",
)


def draw_pair(random: Random) -> tuple[int, int]:
    top = 99 if random.random() < 0.85 else 20
    a, b = random.randint(0, top), random.randint(0, top)
    if a < b and random.random() < 0.7:
        a, b = b, a
    return a, b


def sample(random: Random, held_out: bool) -> Conversation:
    a, b = draw_content(random, held_out, "difference", draw_pair, tuple)
    way = random.choice(WAYS.all) if held_out else WAYS.draw(random, False)
    return [Exchange(way.format(a=a, b=b), str(a - b))]

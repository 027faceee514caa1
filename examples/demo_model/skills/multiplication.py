"""The multiplication table up to 12. A closed list: what is held out is ways to ask, and pairs in one way."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, is_held_out

WAYS = Ways(
    "[What is|What's|How much is|Calculate|Compute|Tell me|Work out] {a} [x|*|×] {b}[?|.]",
    "[What is|What's|How much is|Calculate|Compute|Tell me|Work out] {a} times {b}[?|.]",
    "{a} [x|*|×] {b}[| =|=|?]",
    "{a}[x|*|×]{b}[|=|?]",
    "{a} times {b}[?|]",
    "[Please multiply|Multiply|Can you multiply] {a} [by|and|with] {b}[.|?]",
    "[What is|Give me|Tell me] the product of {a} and {b}[?|.]",
    "{a}乘[以|]{b}[等于多少|是多少|等于几|]？",
    "[请问|计算]{a}乘[以|]{b}[|等于多少][。|？]",
)


def sample(random: Random, held_out: bool) -> Conversation:
    while True:
        a, b = random.randint(0, 12), random.randint(0, 12)
        way = random.choice(WAYS.all)
        unseen = way in WAYS.unseen or is_held_out("product", (way.rstrip(" =?.？。"), a, b))
        if unseen == held_out:
            return [Exchange(way.format(a=a, b=b), str(a * b))]

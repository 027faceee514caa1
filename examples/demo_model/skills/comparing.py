"""Which of two numbers up to 99 is larger or smaller, and whether one is. One pair in eight is held out.

Whether is answered after which: so the model finds the number first, as it learned to.
"""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content

LARGER = Ways(
    "[Which is|Which number is|What is|Tell me which is] [larger|bigger|greater|more], {a} or {b}?",
    "[Which one is|Which is] [larger|bigger|greater]: {a} or {b}?",
    "[What is|Give me] the [larger|bigger|greater] of {a} and {b}[?|.]",
    "{a}和{b}哪个[大|更大|比较大]？",
)
SMALLER = Ways(
    "[Which is|Which number is|What is|Tell me which is] [smaller|less], {a} or {b}?",
    "[Which one is|Which is] smaller: {a} or {b}?",
    "[What is|Give me] the smaller of {a} and {b}[?|.]",
    "{a}和{b}哪个[小|更小|比较小]？",
)
IS_LARGER = Ways("Is {a} [larger|bigger|greater|more] than {b}?", "{a}比{b}大吗？", "{a}大于{b}吗？")
IS_SMALLER = Ways("Is {a} [smaller|less] than {b}?", "{a}比{b}小吗？", "{a}小于{b}吗？")


def draw_pair(random: Random) -> tuple[int, int]:
    top = random.choice((20, 99, 99, 99))
    a = random.randint(0, top)
    b = random.randint(0, top) if random.random() < 0.7 else max(0, a + random.randint(-9, 9))
    return (a, b) if a != b else (a, b + 1)


def sample(random: Random, held_out: bool) -> Conversation:
    a, b = draw_content(random, held_out, "comparison", draw_pair, lambda pair: tuple(sorted(pair)))
    is_question_of_which, for_larger = random.random() < 0.5, random.random() < 0.5
    found = max(a, b) if for_larger else min(a, b)
    if is_question_of_which:
        ways = LARGER if for_larger else SMALLER
    else:
        ways = IS_LARGER if for_larger else IS_SMALLER
    way = random.choice(ways.all) if held_out else ways.draw(random, False)
    if is_question_of_which:
        answer = str(found)
    elif "吗" in way:
        answer = f"{found}更{'大' if for_larger else '小'}，所以{'是的' if found == a else '不是'}。"
    else:
        answer = f"{found} is {'larger' if for_larger else 'smaller'}, so {'yes' if found == a else 'no'}."
    return [Exchange(way.format(a=a, b=b), answer)]

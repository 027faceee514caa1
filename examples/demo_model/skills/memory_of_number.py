"""A number, told in one turn and asked for in the same or later ones. One number in eight is held out."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content, remembered

TELL = Ways(
    "[Please remember|Remember|Keep in mind] the number {n}[.|]",
    "[Please remember|Remember|Keep in mind] {n}[.|]",
    "[My|The secret|My favourite|My lucky] number is {n}[.|]",
    "[Please |]remember this number: {n}[.|]",
    "Can you remember the number {n}?",
)
ASK = Ways(
    "[What is|What's|What was|Tell me|Do you remember|Do you know] [my|the] number[?|.]",
    "[Which|What] number did I [tell you|give you|say|ask you to remember]?",
    "[Which|What] number [should|did] you remember?",
    "What was the number[ again|]?",
)
CHINESE_TELL = Ways("[请|]记住[数字|]{n}[。|]", "我的[幸运|]数字是{n}[。|]", "[请|]记住这个数字：{n}[。|]")
CHINESE_ASK = Ways(
    "我的[幸运|]数字是[多少|几|什么]？",
    "[刚才的|那个]数字是[多少|几|什么]？",
    "你[还|]记得[那个|我的]数字吗？",
)


def draw_number(random: Random) -> int:
    return random.randint(0, random.choice((9, 99, 999, 9999)))


def sample(random: Random, held_out: bool) -> Conversation:
    chinese = random.random() < 0.2
    number = draw_content(random, held_out, "remembered", draw_number, int)
    tell, ask = (CHINESE_TELL, CHINESE_ASK) if chinese else (TELL, ASK)

    def way(ways: Ways) -> str:
        return random.choice(ways.all) if held_out else ways.draw(random, False)

    if chinese:
        noted, answer = f"好的，我记住了{number}。", f"你的数字是{number}。"
    else:
        noted, answer = f"OK, I will remember {number}.", f"Your number is {number}."
    told = way(tell).format(n=number)
    first = Exchange(told[0].upper() + told[1:], noted)
    return remembered(first, lambda: way(ask), answer, random)

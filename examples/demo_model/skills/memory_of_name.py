"""The user's name, told in one turn and asked for in the same or later ones. One name in eight is held out."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways, draw_content, remembered
from .vocabulary import any_name

TELL = Ways(
    "[Hi, |Hello, |Hello! |Hi! |]my name is {name}[.|!|]",
    "[Hi, |Hello, |Hello! |Hi! |]I am {name}[.|!|]",
    "[Hi, |Hello, |Hello! |Hi! |]I'm {name}[.|!|]",
    "[You can call|Call|Please call] me {name}[.|]",
    "[Hi, |]this is {name}[.|]",
    "My name's {name}[.|]",
    "Remember that my name is {name}[.|]",
)
ASK = Ways(
    "[What is|What's|Tell me|Do you remember|Do you know|Can you tell me] my name[?|.]",
    "Who am I?",
    "[So, what|And what|What] is my name[ again|]?",
    "What am I called?",
    "[How|What] did I say my name was?",
    "What did I say my name is?",
)
CHINESE_TELL = Ways(
    "[你好，|]我叫{name}[。|]",
    "[你好，|]我[的名字|]是{name}[。|]",
    "[请|]叫我{name}[。|]",
    "我的名字叫{name}[。|]",
)
CHINESE_ASK = Ways(
    "我叫什么[名字|][？|]", "我的名字是什么[？|]", "你[还|]记得我[的名字|叫什么]吗？", "我是谁[？|]"
)
SURNAMES = "王李张刘陈杨赵黄周吴徐孙马朱胡林"
GIVEN = "明华丽强芳军杰敏静伟娜洋艳勇磊涛超霞平刚玲雪梅兰文龙云小天海"


def chinese_name(random: Random) -> str:
    return random.choice(SURNAMES) + "".join(random.choice(GIVEN) for _ in range(random.randint(1, 2)))


def sample(random: Random, held_out: bool) -> Conversation:
    chinese = random.random() < 0.2
    name = draw_content(random, held_out, "name", chinese_name if chinese else any_name, str)
    tell, ask = (CHINESE_TELL, CHINESE_ASK) if chinese else (TELL, ASK)

    def way(ways: Ways) -> str:
        return random.choice(ways.all) if held_out else ways.draw(random, False)

    if chinese:
        welcome, answer = f"你好，{name}！", f"你叫{name}。"
    else:
        welcome, answer = f"Nice to meet you, {name}!", f"Your name is {name}."
    told = way(tell).format(name=name)
    first = Exchange(told[0].upper() + told[1:], welcome, any_case=False)
    return remembered(first, lambda: way(ask), answer, random)

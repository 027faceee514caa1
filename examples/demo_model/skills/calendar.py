"""Days of the week and months, in English and Chinese. A closed list: the ways to ask are held out."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
CHINESE_DAYS = ["星期" + day for day in "一二三四五六日"]
CHINESE_MONTHS = [
    "一月",
    "二月",
    "三月",
    "四月",
    "五月",
    "六月",
    "七月",
    "八月",
    "九月",
    "十月",
    "十一月",
    "十二月",
]

AFTER = Ways(
    "[What|Which] {kind} [comes|is] [right |]after {x}?",
    "[Tell me|Name] the {kind} after {x}[.|]",
    "What [comes|is] [right |]after {x}?",
    "[What is|What's] the [{kind} after|next {kind} after] {x}?",
    "What follows {x}?",
)
BEFORE = Ways(
    "[What|Which] {kind} [comes|is] [right |]before {x}?",
    "[Tell me|Name] the {kind} before {x}[.|]",
    "What [comes|is] [right |]before {x}?",
    "[What is|What's] the {kind} before {x}?",
)
NTH_DAY = Ways("[What|Which] is the {nth} day of the week?", "[Tell me|Name] the {nth} day of the week[.|]")
NTH_MONTH = Ways(
    "[What|Which] is the {nth} month [of the year|]?",
    "[Tell me|Name] the {nth} month [of the year|][.|]",
    "[What|Which] month is month number {n}?",
)
NUMBER_OF_MONTH = Ways(
    "[What|Which] number is {x} [in the year|among the months]?",
    "[What is|Tell me] the number of {x}[?|.]",
    "[What is|Tell me] the month number of {x}[?|.]",
)
LENGTH = Ways(
    "How many days [are in|are there in|does] {x}[ have|]?",
    "How many days [has|has the month of] {x}[ got|]?",
    "How long is {x}[ in days|]?",
    "[How long does|How many days long does] {x} last[ in days|]?",
    "[What is|Tell me] the length of {x}[ in days|][?|.]",
    "How long [is the month of|is the month] {x}?",
    "{x} has how many days?",
)
TOMORROW = Ways(
    "[If today is|Today is] {x}[, what day is|. What day is|, what is] tomorrow?",
    "[What day is|Which day is] tomorrow if today is {x}?",
)
YESTERDAY = Ways(
    "[If today is|Today is] {x}[, what day was|. What day was|, what was] yesterday?",
    "[What day was|Which day was] yesterday if today is {x}?",
)
CHINESE_AFTER = Ways("{x}[后面|之后|的下一{unit}]是[什么|哪{unit}|]？", "{x}过后是什么？")
CHINESE_BEFORE = Ways("{x}[前面|之前|的上一{unit}]是[什么|哪{unit}|]？", "{x}以前是什么？")
CHINESE_TOMORROW = Ways("[如果|]今天是{x}，明天是[星期几|什么]？", "今天{x}，明天呢？")
FIXED = {
    "7.": Ways("How many days [are in|are there in|does] a week[ have|]?", "一[个|]星期有[几|多少]天？"),
    "12.": Ways("How many months [are in|are there in|does] a year[ have|]?", "一年有[几|多少]个月？"),
    ", ".join(DAYS) + ".": Ways(
        "[What are|Name|List|Tell me|Say] the days of the week[.|]",
        "[Name|List] all [the |]days of the week[.|]",
    ),
    ", ".join(MONTHS) + ".": Ways(
        "[What are|Name|List|Tell me|Say] the months[ of the year|][.|]", "[Name|List] all [the |]months[.|]"
    ),
}


def sample_chinese(random: Random, held_out: bool) -> Conversation:
    names, unit = random.choice(((CHINESE_DAYS, "天"), (CHINESE_MONTHS, "个月")))
    index = random.randrange(len(names))
    ways, step = random.choice(((CHINESE_AFTER, 1), (CHINESE_BEFORE, -1), (CHINESE_TOMORROW, 1)))
    if ways is CHINESE_TOMORROW:
        names, index = CHINESE_DAYS, index % 7
    question = ways.draw(random, held_out).replace("{unit}", unit).replace("{x}", names[index])
    return [Exchange(question, names[(index + step) % len(names)] + "。")]


def sample(random: Random, held_out: bool) -> Conversation:
    kind = random.random()
    if kind < 0.15:
        return sample_chinese(random, held_out)
    if kind < 0.25:
        answer, ways = random.choice(list(FIXED.items()))
        return [Exchange(ways.draw(random, held_out), answer)]
    day, month = random.randrange(7), random.randrange(12)
    x = MONTHS[month]
    if kind < 0.6:
        names, name = random.choice(((DAYS, "day"), (MONTHS, "month")))
        index = random.randrange(len(names))
        ways, step = random.choice(((AFTER, 1), (BEFORE, -1)))
        answer, x = names[(index + step) % len(names)], names[index]
    elif kind < 0.75:
        name, x = "day", DAYS[day]
        ways, answer = random.choice(((TOMORROW, DAYS[(day + 1) % 7]), (YESTERDAY, DAYS[day - 1])))
    elif kind < 0.8:
        name, ways, answer, month = "day", NTH_DAY, DAYS[day], day
    elif kind < 0.87:
        name, ways, answer = "month", NTH_MONTH, MONTHS[month]
    elif kind < 0.92:
        name, ways, answer = "month", NUMBER_OF_MONTH, str(month + 1)
    else:
        name, ways, answer = "month", LENGTH, str(LENGTHS[month])
    question = ways.draw(random, held_out).format(kind=name, x=x, nth=ORDINALS[month], n=month + 1)
    return [Exchange(question, answer + ".")]

"""The capitals of 60 countries, both ways round, 30 of them in Chinese. The ways to ask are held out."""

from __future__ import annotations

from random import Random

from .common import Conversation, Exchange, Ways

CAPITALS = dict(
    pair.split(":")
    for pair in """
Argentina:Buenos Aires|Australia:Canberra|Austria:Vienna|Bangladesh:Dhaka|Belgium:Brussels|Brazil:Brasilia
Bulgaria:Sofia|Canada:Ottawa|Chile:Santiago|China:Beijing|Colombia:Bogota|Croatia:Zagreb|Cuba:Havana
Cyprus:Nicosia|Denmark:Copenhagen|Ecuador:Quito|Egypt:Cairo|Estonia:Tallinn|Ethiopia:Addis Ababa
Finland:Helsinki|France:Paris|Germany:Berlin|Ghana:Accra|Greece:Athens|Hungary:Budapest|Iceland:Reykjavik
India:New Delhi|Indonesia:Jakarta|Iran:Tehran|Iraq:Baghdad|Ireland:Dublin|Italy:Rome|Jamaica:Kingston
Japan:Tokyo|Jordan:Amman|Kenya:Nairobi|Latvia:Riga|Lebanon:Beirut|Malaysia:Kuala Lumpur|Mexico:Mexico City
Mongolia:Ulaanbaatar|Morocco:Rabat|Nepal:Kathmandu|New Zealand:Wellington|Nigeria:Abuja|Norway:Oslo
Pakistan:Islamabad|Peru:Lima|Poland:Warsaw|Portugal:Lisbon|Romania:Bucharest|Russia:Moscow|South Korea:Seoul
Spain:Madrid|Sweden:Stockholm|Switzerland:Bern|Thailand:Bangkok|Turkey:Ankara|Ukraine:Kyiv|Vietnam:Hanoi
""".strip()
    .replace("\n", "|")
    .split("|")
)
CHINESE = dict(
    pair.split(":")
    for pair in """
澳大利亚:堪培拉|奥地利:维也纳|比利时:布鲁塞尔|巴西:巴西利亚|加拿大:渥太华|智利:圣地亚哥|中国:北京
丹麦:哥本哈根|埃及:开罗|芬兰:赫尔辛基|法国:巴黎|德国:柏林|希腊:雅典|匈牙利:布达佩斯|印度:新德里
印度尼西亚:雅加达|爱尔兰:都柏林|意大利:罗马|日本:东京|马来西亚:吉隆坡|挪威:奥斯陆|波兰:华沙|葡萄牙:里斯本
俄罗斯:莫斯科|韩国:首尔|西班牙:马德里|瑞典:斯德哥尔摩|瑞士:伯尔尼|泰国:曼谷|越南:河内
""".strip()
    .replace("\n", "|")
    .split("|")
)

CAPITAL = Ways(
    "[What is|What's|Which city is|Tell me|Name|Do you know] the capital [city |]of {x}[?|.]",
    "[The |]capital of {x}[?|]",
    "What is {x}'s capital[ city|]?",
    "{x}'s capital[?|]",
    "[Which|What] city is the capital of {x}?",
)
COUNTRY = Ways(
    "{x} is the capital of [which|what] country?",
    "[Which|What] country is {x} the capital of?",
    "[Which|What] country has {x} as its capital[ city|]?",
    "[Which|What] country has the capital {x}?",
    "[Whose capital is|Of which country is] {x}[ the capital|]?",
)
CHINESE_CAPITAL = Ways(
    "{x}的首都[是|在|是什么|是哪里|在哪里|是哪个城市|叫什么][？|]",
    "[请问|你知道]{x}的首都[是哪里|是什么|在哪]？",
)
CHINESE_COUNTRY = Ways("{x}是[哪个国家|哪国|什么国家]的首都？", "[哪个国家|哪国|什么国家]的首都是{x}？")


def sample(random: Random, held_out: bool) -> Conversation:
    chinese = random.random() < 0.25
    country, capital = random.choice(list((CHINESE if chinese else CAPITALS).items()))
    forward = random.random() < 0.65
    if chinese:
        ways = CHINESE_CAPITAL if forward else CHINESE_COUNTRY
    else:
        ways = CAPITAL if forward else COUNTRY
    question = ways.draw(random, held_out).format(x=country if forward else capital)
    return [Exchange(question, (capital if forward else country) + ("。" if chinese else "."))]

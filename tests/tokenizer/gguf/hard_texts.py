"""Texts that are hard to cut into tokens."""

from __future__ import annotations

HARD_TEXTS = [
    "",
    " ",
    "  ",
    "\n",
    "\n\n \n\t\t\r\n",
    "hello world",
    " hello  world   again ",
    "\tif x == y:\n\t\treturn  'ok'\n\n\n",
    "don't DON'T we'Ve I'LL they'Re 'sfx",
    "1 12 123 1234 12345 123456 1234567 3.14 ½ ² Ⅷ ٣٤",
    "你好世界 今天天气怎么样 日本語カタカナひらがな 한국어",
    "مرحبا بالعالم שלום привет ΑΒΓ Ǆ",
    "👨‍👩‍👧‍👦 🙂🙂 🏳️‍🌈 1️⃣",
    "naïve café e\u0301 Z\u0335\u0336algo \u00a0nbsp \u200b \ufeff",
    "CamelCase camelCase HTTPServer snake_case x+=1; a->b // c\\d",
    "!!!??? ... ---- ```code``` <p>a</p> [x] {y} $5 #7 100%",
    "\x00\x01\x7f \ufffd",
    "a" * 40 + " " * 40 + "\n" * 20,
    "<0x41> ▁▁ [PAD3] <|im_en d|>",
]

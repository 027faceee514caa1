"""Texts in which ways of making tokens show themselves: what is the same for all of them is taken for the same way."""

from __future__ import annotations

PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "Hello  world,   I'm   here!\n\nAnd  you're there\n \n\t\tdon't DON'T We'Ve 'sfx",
    "x  12   345 \n  67\t\t8  !  ?\n   9",
    "it'sfx they'Refine I'MX we'dare",
    " a b  c   d\t e\n f\r\n g \n  \n   h\u3000i\u00a0j",
    "1 12 123 1234 12345 123456 1234567 3.14 1,000,000 2024-12-31 x86_64 0xFF ½² ⅧⅫ ٣٤٥",
    "你好世界，今天天气怎么样？日本語カタカナひらがな 한국어입니다 中文123abc",
    "مرحبا بالعالم שלום עולם привет мир ΑΒΓαβγ Ǆ ǅ ǆ हिन्दी ภาษาไทย",
    "👨‍👩‍👧‍👦 🙂🙂 🏳️‍🌈 1️⃣ café naïve cafe\u0301 Z\u0335\u0336algo Å Å",
    "CamelCase camelCase HTTPServer XMLHttp snake_case x+=1; a->b // c\\d \"q\" 'r' `s`",
    "def f(x):\n    return x**2  # comment\n\n\nif a != b:\n\tprint(\"…\")\n",
    "<p class=\"a\">$5 #7 100% @you [x] {y} (z) !!! ??? ... ---- === ~~~ ^^^ |||</p>/\n//",
    "https://example.org/path?q=1&r=2#frag user@mail.com C++ C# .NET",
    "IMGIMGABCZ<sentinel:1>",
    "ÀÉÎõü ßẞ ﬁ ﬀ ｆｕｌｌ １２３ “quoted” ‘single’ – — …",
    "a" * 20 + " " * 20 + "\n" * 5 + "\t" * 3 + "b",
)

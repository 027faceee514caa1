"""How byte-level vocabularies cut text into words before they merge: by the names that GGUF files give.

A file names its way in `tokenizer.ggml.pre` and does not describe it. The expressions are those of the families'
own tokenizer.json, which `tokenizers` runs as it runs them there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.gguf.probes import PROBES

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s+(?!\S)|\s+"
_LINES = r"\s*[\r\n]+|" + _SPACES
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|" + _SPACES
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|{_LINES}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_SIGNS}|{_LINES}"
_QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_LINES}"
)


def _cased_words(ending: str, numbers: str) -> str:
    """Words that end where lower case turns into upper case, with `ending` after them."""
    start = r"[^\r\n\p{L}\p{N}]?"
    words = f"{start}{_UPPER}*{_LOWER}+{ending}|{start}{_UPPER}+{_LOWER}*{ending}"
    return rf"{words}|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_LINES}"


_GPT4O = _cased_words(_CONTRACTIONS + "?", r"\p{N}{1,3}")
_DEEPSEEK3_WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|" + _LINES
)
_CASED_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛ"
    "ὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗ"
    "Ａ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
"""Letters of scripts that have upper and lower case, as the first DeepSeek models list them."""
_DEEPSEEK_SIGNS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
_EAST_ASIAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_HAN_AND_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_SCRIPTS_WITHOUT_SPACES = (
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff"
    "\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)
_KIMI_UPPER, _KIMI_LOWER = (f"{kind[:-1]}&&[^\\p{{Han}}]]" for kind in (_UPPER, _LOWER))
_CASCADE = "|".join(rf"\s{{{count}}}(?!\S)" for count in (512, 256, 128, 64, 32, 16, 8, 4, "1,2"))
_BLOOM = r" ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
_ONE_DIGIT = r"\p{N}"
_DIGITS_FROM_THE_RIGHT = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"
_FALCON_SIGNS = r"[\p{P}$+<=>^`~|]+"


@dataclass(frozen=True)
class PreTokenizer:
    """How text is cut before its bytes merge.

    patterns       expressions, one after another: their matches, and what is between them, become words
    nfc            whether text is composed (Unicode's NFC) first
    whole_words    whether a word that is a token is taken as that, whatever the merges would make of it
    adds_bos       whether text begins with a beginning of sequence where the file does not say
    """

    patterns: tuple[str, ...]
    nfc: bool = False
    whole_words: bool = False
    adds_bos: bool = False


_FAMILIES: tuple[tuple[str, PreTokenizer], ...] = (
    ("gpt-2 phi-2 gigachat a.x-4.0 mellum exaone4 jais trillion granite-docling", PreTokenizer((_GPT2,))),
    ("mpt olmo", PreTokenizer((_GPT2,), nfc=True)),
    ("smollm starcoder refact codeshell exaone minerva-7b mellum2", PreTokenizer((_ONE_DIGIT, _GPT2))),
    ("command-r", PreTokenizer((_ONE_DIGIT, _GPT2), nfc=True)),
    ("falcon", PreTokenizer((_FALCON_SIGNS, _GPT2, "[0-9][0-9][0-9]"))),
    ("default", PreTokenizer((r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"))),
    (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2",
        PreTokenizer((_LLAMA3,), whole_words=True, adds_bos=True),
    ),
    ("dbrx smaug-bpe glm4 chatglm-bpe", PreTokenizer((_LLAMA3,))),
    (
        "jais-2",
        PreTokenizer((rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|\s*[\r\n]+|{_CASCADE}|\s",)),
    ),
    ("qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan", PreTokenizer((_QWEN2,), nfc=True)),
    ("qwen35", PreTokenizer((_QWEN35,), nfc=True)),
    ("solar-open grok-2", PreTokenizer((_QWEN2,))),
    ("laguna", PreTokenizer((r"[^\n]+|\n+", _QWEN2))),
    ("ufakzeka", PreTokenizer((rf"{_WORD}|\p{{N}}|{_SIGNS}|{_LINES}",))),
    (
        "seed-coder",
        PreTokenizer((rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_LINES}",)),
    ),
    (
        "minicpm5",
        PreTokenizer(
            (r"\p{N}{1,3}", rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}+|{_SIGNS}|{_LINES}"), whole_words=True
        ),
    ),
    (
        "bailingmoe bailingmoe2 llada-moe",
        PreTokenizer(
            (
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
                rf"|\s*[\r\n]|{_SPACES}",
            )
        ),
    ),
    (
        "exaone-moe",
        PreTokenizer(
            (
                rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
                rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]?|\s*[\r\n]|{_SPACES}",
            )
        ),
    ),
    ("tekken", PreTokenizer((_cased_words("", r"\p{N}"),), whole_words=True, adds_bos=True)),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", PreTokenizer((_GPT4O,))),
    ("tiny_aya cohere2moe", PreTokenizer((r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O))),
    (
        "kimi-k2",
        PreTokenizer(
            (
                rf"\p{{Han}}+|[^\r\n\p{{L}}\p{{N}}]?{_KIMI_UPPER}*{_KIMI_LOWER}+{_CONTRACTIONS}?"
                rf"|[^\r\n\p{{L}}\p{{N}}]?{_KIMI_UPPER}+{_KIMI_LOWER}*{_CONTRACTIONS}?"
                rf"|\p{{N}}{{1,3}}|{_SIGNS}|{_LINES}",
            )
        ),
    ),
    ("superbpe", PreTokenizer((r"\p{N}+", r"(?=(\d{3})+(?!\d))"))),
    (
        "deepseek-llm",
        PreTokenizer(
            (r"[\r\n]", rf"\s?[{_CASED_LETTERS}]+", _DEEPSEEK_SIGNS, r"\s+$", _EAST_ASIAN, _ONE_DIGIT)
        ),
    ),
    ("deepseek-coder", PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _EAST_ASIAN, _ONE_DIGIT))),
    (
        "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
        PreTokenizer((r"\p{N}{1,3}", _HAN_AND_KANA, _DEEPSEEK3_WORDS)),
    ),
    ("afmoe", PreTokenizer((_DIGITS_FROM_THE_RIGHT, _SCRIPTS_WITHOUT_SPACES, _DEEPSEEK3_WORDS))),
    ("poro-chat bloom gpt3-finnish", PreTokenizer((_BLOOM,))),
    ("viking", PreTokenizer((_BLOOM, _ONE_DIGIT))),
    (
        "chameleon",
        PreTokenizer(
            (
                "<sentinel:[0-9]+>",
                "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                "([\\t\\n]|    |  )",
                _ONE_DIGIT,
                r"[\p{P}!-/:-@\[-`{-~]",
                _GPT2,
            ),
            adds_bos=True,
        ),
    ),
)
PRE_TOKENIZERS = {name: pre_tokenizer for names, pre_tokenizer in _FAMILIES for name in names.split()}
"""Every way that is known, by the name that files give it."""

_OF_ARCHITECTURES = {
    "falcon": "falcon",
    "gpt2": "gpt-2",
    "gptneox": "olmo",
    "mpt": "mpt",
    "qwen2": "qwen2",
    "refact": "refact",
    "starcoder": "starcoder",
    "starcoder2": "starcoder",
}
"""The only way that an architecture's models ever had, for files from before they named it."""


def pre_tokenizer_of(name: str | None, architecture: str, where: str) -> PreTokenizer:
    """The way of `tokenizer.ggml.pre`, None where the file lacks it.

    TokenizerError for unknown ones: any other way would make other tokens of the same text.
    """
    way_out = "give a folder with the model's tokenizer.json as --tokenizer DIR"
    if name is None:
        name = _OF_ARCHITECTURES.get(architecture)
        if name is None:
            raise TokenizerError(
                f"{where}: tokenizer.ggml.pre is missing, and how text is cut into words is not known without it: "
                f"{way_out}, or convert the model again."
            )
    if name not in PRE_TOKENIZERS:
        raise TokenizerError(
            f"{where}: tokenizer.ggml.pre is {shorten(name)}, which is not known here: {way_out}; known are "
            f"{', '.join(sorted(PRE_TOKENIZERS))}."
        )
    return PRE_TOKENIZERS[name]


def name_of(
    cut: Callable[[str], list[str]], cutter: Callable[[PreTokenizer], Any], nfc: bool, whole_words: bool, where: str
) -> str:
    """The name of the way that cuts texts as `cut` does, which is tried. `cutter`: what runs a way in `tokenizers`.

    Ways that differ in composing text, or in taking whole words, are second best: what they make of texts is compared
    later. `TokenizerError` where no way cuts alike.
    """
    expected = [cut(text) for text in PROBES]
    found = []
    for names, way in _FAMILIES:
        runs = cutter(way)
        if all(
            [word for word, _ in runs.pre_tokenize_str(_composed(text, nfc))] == words
            for text, words in zip(PROBES, expected, strict=True)
        ):
            found.append(((way.nfc != nfc) + (way.whole_words != whole_words), names.split()[0]))
    if not found:
        raise TokenizerError(
            f"the tokenizer of {where} cuts text into words in a way for which GGUF has no name that is known here "
            f"({', '.join(sorted(PRE_TOKENIZERS))}), so that no GGUF file can hold it."
        )
    return min(found, key=lambda each: each[0])[1]


def _composed(text: str, nfc: bool) -> str:
    return unicodedata.normalize("NFC", text) if nfc else text

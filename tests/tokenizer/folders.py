"""Small tokenizer folders in the forms of known model families, trained in a moment on a few sentences."""

from __future__ import annotations

import functools
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.tokenizer import chat_templates

WORDS = (
    "hello world the quick brown fox jumps over a lazy dog answer question what is it user assistant system "
    "im_end start 12 34 2024 naïve café Straße don't they're it's I'll def return if x == y: \t print('ok') "
    "{ } <s> </s> 你好 世界 今天 天气 怎么样 数学 日本語 привет мир 🙂 think thought user_role tool_call"
).split(" ")

SYMBOLS = ("<_user>", "<_bot>", "<_end>", "<_system>")

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_PATTERN = QWEN2_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def sentences() -> Iterator[str]:
    """300 lines of shuffled words, the same in each run."""
    chosen = random.Random(0)
    for _ in range(300):
        yield " ".join(chosen.choices(WORDS, k=12))


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def read_config(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def write_configs(folder: Path, config: dict[str, Any], tokenizer_config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    given = {key: value for key, value in tokenizer_config.items() if value is not None}
    write_json(folder / "tokenizer_config.json", given)
    return folder


@functools.cache
def byte_level_json(pattern: str, vocabulary: int, normalized: bool) -> str:
    """tokenizer.json of a byte-level BPE without added tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    if normalized:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(sentences(), trainer)
    return tokenizer.to_str()


def byte_level_tokenizer(
    special: Sequence[str],
    ordinary: Sequence[str] = (),
    pattern: str = QWEN2_PATTERN,
    normalized: bool = True,
) -> Any:
    """A tokenizers.Tokenizer with `special` tokens and then `ordinary` added ones behind its vocabulary."""
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_str(byte_level_json(pattern, 420, normalized))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ordinary])
    return tokenizer


def write_chatml(folder: Path, template: str = chat_templates.CHATML, **tokenizer_config: Any) -> Path:
    """In the form of Qwen2.5 and Qwen3."""
    ordinary = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
    tokenizer = byte_level_tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], ordinary)
    described = {
        str(token_id): {
            "content": token.content,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": token.special,
        }
        for token_id, token in tokenizer.get_added_tokens_decoder().items()
    }
    write_configs(
        folder,
        {"model_type": "qwen2", "eos_token_id": tokenizer.token_to_id("<|im_end|>")},
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "added_tokens_decoder": described,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "chat_template": template,
            **tokenizer_config,
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_headers(folder: Path, **tokenizer_config: Any) -> Path:
    """In the form of Llama 3: a beginning of sequence from the post-processor, three digits together."""
    from tokenizers import processors

    special = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    ]
    tokenizer = byte_level_tokenizer(special, pattern=LLAMA3_PATTERN, normalized=False)
    begin = ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{begin[0]} $A", pair=f"{begin[0]} $A $B", special_tokens=[begin]
            ),
        ]
    )
    write_configs(
        folder,
        {"model_type": "llama", "eos_token_id": [tokenizer.token_to_id("<|end_of_text|>")]},
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|eot_id|>",
            "chat_template": chat_templates.HEADERS,
            **tokenizer_config,
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@functools.cache
def sentencepiece_model(kind: str, symbols: tuple[str, ...] = (), rule: str = "identity") -> bytes:
    """tokenizer.model of a "bpe" or "unigram" vocabulary with byte fallback and user symbols."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(),
        model_writer=written,
        model_type=kind,
        vocab_size=480 if kind == "bpe" else 360,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name=rule,
        remove_extra_whitespaces=False,
        user_defined_symbols=list(symbols),
        split_digits=True,
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()


def write_sentencepiece(
    folder: Path,
    kind: str = "bpe",
    symbols: tuple[str, ...] = (),
    rule: str = "identity",
    model_type: str = "llama",
    **tokenizer_config: Any,
) -> Path:
    """In the form of Llama 2: tokenizer.model alone, its rules in tokenizer_config.json."""
    defaults = {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": chat_templates.INSTRUCTIONS,
    }
    merged = {key: value for key, value in {**defaults, **tokenizer_config}.items() if value is not None}
    write_configs(folder, {"model_type": model_type, "eos_token_id": 2}, merged)
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(kind, symbols, rule))
    return folder


@functools.cache
def byte_fallback_json() -> str:
    """tokenizer.json of a byte-fallback BPE as converted from Llama 2's tokenizer.model."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=100,
        max_token_length=8,
        show_progress=False,
    )
    words = (word for line in sentences() for word in line.split())
    tokenizer.train_from_iterator(words, trainer)
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = [
        token for token in description["added_tokens"] if token["content"] in special
    ]
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer.to_str()


def write_byte_fallback(folder: Path, model_type: str = "llama", **tokenizer_config: Any) -> Path:
    """In the form of Llama 2's tokenizer.json."""
    defaults = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": chat_templates.INSTRUCTIONS,
    }
    write_configs(folder, {"model_type": model_type, "eos_token_id": 2}, {**defaults, **tokenizer_config})
    (folder / "tokenizer.json").write_text(byte_fallback_json(), encoding="utf-8")
    return folder


def write_unigram(folder: Path, **tokenizer_config: Any) -> Path:
    """A Unigram tokenizer.json with a Metaspace pre-tokenizer and a normalizer."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.add_special_tokens([AddedToken("<_user>", special=True), AddedToken("<_bot>", special=True)])
    tokenizer.add_special_tokens([AddedToken("<_end>", special=True), AddedToken("<_system>", special=True)])
    write_configs(
        folder,
        {"model_type": "llama"},
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "</s>",
            "chat_template": chat_templates.ROLE_TOKENS,
            **tokenizer_config,
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_sentencepiece_added(folder: Path) -> Path:
    """tokenizer.model with ChatML tokens that tokenizer_config.json adds behind its vocabulary."""
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    added = {0: "<unk>", 1: "<s>", 2: "</s>", 480: "<|im_start|>", 481: "<|im_end|>", 482: "<tool_response>"}
    added[483] = "</tool_response>"
    described = {str(token_id): {"content": content, **flags} for token_id, content in added.items()}
    described["482"]["special"] = described["483"]["special"] = False
    return write_sentencepiece(
        folder, chat_template=chat_templates.CHATML, eos_token="<|im_end|>", added_tokens_decoder=described
    )


def write_sentencepiece_legacy_files(folder: Path) -> Path:
    """The same tokens in the older form: added_tokens.json and special_tokens_map.json."""
    write_sentencepiece(
        folder, chat_template=chat_templates.CHATML, bos_token=None, eos_token=None, unk_token=None
    )
    write_json(folder / "added_tokens.json", {"<|im_end|>": 481, "<|im_start|>": 480, "<tool_response>": 482})
    token = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    write_json(
        folder / "special_tokens_map.json",
        {
            "bos_token": "<s>",
            "eos_token": {"content": "<|im_end|>", **token},
            "unk_token": "<unk>",
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        },
    )
    return folder


def write_joined_role(folder: Path) -> Path:
    """A template that puts a control token together from a message's role."""
    tokenizer = byte_level_tokenizer(["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"])
    write_configs(
        folder,
        {"model_type": "phi3", "eos_token_id": tokenizer.token_to_id("<|endoftext|>")},
        {
            "tokenizer_class": "GPT2Tokenizer",
            "eos_token": "<|endoftext|>",
            "chat_template": chat_templates.JOINED_ROLE,
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_word_pieces(folder: Path) -> Path:
    """WordPiece, whose decoder puts spaces between words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[UNK]", "[CLS]", "[SEP]", "[USER]", "[BOT]"]
    tokenizer.train_from_iterator(
        sentences(), trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    template = "{% for message in messages %}{{ '[USER]' + message.content + '[SEP]' }}{% endfor %}[BOT]"
    write_configs(
        folder,
        {"model_type": "llama"},
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": "[UNK]",
            "eos_token": "[SEP]",
            "chat_template": template,
        },
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "chatml": write_chatml,
    "thinking": lambda folder: write_chatml(folder, chat_templates.THINKING),
    "headers": write_headers,
    "sentencepiece": write_sentencepiece,
    "sentencepiece legacy": lambda folder: write_sentencepiece(folder, legacy=True),
    "sentencepiece symbols": lambda folder: write_sentencepiece(
        folder,
        symbols=SYMBOLS,
        chat_template=chat_templates.ROLE_TOKENS,
    ),
    "sentencepiece without prefix": lambda folder: write_sentencepiece(folder, add_prefix_space=False),
    "sentencepiece without class": lambda folder: write_sentencepiece(folder, tokenizer_class=None),
    "sentencepiece without class, not legacy": lambda folder: write_sentencepiece(
        folder, tokenizer_class=None, legacy=False
    ),
    "sentencepiece without class, symbols": lambda folder: write_sentencepiece(
        folder,
        symbols=SYMBOLS,
        tokenizer_class=None,
        chat_template=chat_templates.ROLE_TOKENS,
    ),
    "sentencepiece of phi3": lambda folder: write_sentencepiece(folder, model_type="phi3"),
    "sentencepiece nfkc": lambda folder: write_sentencepiece(folder, rule="nmt_nfkc"),
    "unigram sentencepiece": lambda folder: write_sentencepiece(folder, kind="unigram", tokenizer_class=None),
    "sentencepiece with added tokens": write_sentencepiece_added,
    "sentencepiece with legacy files": write_sentencepiece_legacy_files,
    "byte fallback": write_byte_fallback,
    "byte fallback of mistral": lambda folder: write_byte_fallback(folder, model_type="mistral"),
    "joined role": write_joined_role,
    "chatml without class": lambda folder: write_chatml(folder, tokenizer_class=None),
    "chatml as Llama's": lambda folder: write_chatml(folder, tokenizer_class="LlamaTokenizerFast"),
    "word pieces": write_word_pieces,
    "byte fallback legacy": lambda folder: write_byte_fallback(folder, legacy=True),
    "unigram": write_unigram,
}
"""The forms that are compared with transformers, by name."""

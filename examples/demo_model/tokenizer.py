"""Train the demo model's vocabulary: byte-level BPE on dialogues of the corpus.

Every digit is one token, so that numbers are columns of digits. A letter after a hyphen is one ("-a"), so
that spelled words are columns of letters. Chinese is learned character by character. No merge crosses words.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from corpus import SKILLS, training_dialogue
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

VOCABULARY = 2048
START, END, PADDING = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIAL = [PADDING, START, END]
# Qwen2's pieces: loaders that know the architecture use them whatever tokenizer.json says.
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What the vocabulary is learned on: the same, with each Chinese character alone.
LEARNING_PIECES = r"\p{N}|\p{Han}|-[a-zA-Z](?!\p{L})| ?[\p{L}&&[^\p{Han}]]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TOKENIZER_CONFIG = {
    "tokenizer_class": "Qwen2Tokenizer",
    "model_max_length": 1024,
    "bos_token": None,
    "eos_token": END,
    "pad_token": PADDING,
    "unk_token": None,
    "add_bos_token": False,
    "add_prefix_space": False,
    "clean_up_tokenization_spaces": False,
    "chat_template": CHAT_TEMPLATE,
    "added_tokens_decoder": {
        str(index): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for index, token in enumerate(SPECIAL)
    },
}


def split_into(pieces: str) -> pre_tokenizers.PreTokenizer:
    """Text to words by a regular expression, words to bytes."""
    split = pre_tokenizers.Split(Regex(pieces), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train_tokenizer(dialogues: int = 60_000, seed: int = 0) -> Tokenizer:
    """The vocabulary of that many dialogues, every skill weighted alike."""
    random = Random(seed)
    weights = dict.fromkeys(SKILLS, 1.0)
    texts = (message["content"] for _ in range(dialogues) for message in training_dialogue(random, weights))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = split_into(LEARNING_PIECES)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    roles = ["system\n", "user\n", "assistant\n"] * 1000
    tokenizer.train_from_iterator((text for source in (roles, texts) for text in source), trainer)
    tokenizer.pre_tokenizer = split_into(PIECES)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    text = json.dumps(TOKENIZER_CONFIG, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def render(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
    """What the chat template makes of the messages."""
    text = "".join(f"{START}{message['role']}\n{message['content']}{END}\n" for message in messages)
    return text + (f"{START}assistant\n" if add_generation_prompt else "")

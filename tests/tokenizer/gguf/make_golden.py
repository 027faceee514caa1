"""Make the golden vocabularies: `python -m tests.tokenizer.gguf.make_golden MODELS`, with llama-cpp-python.

MODELS is the folder `models` of llama.cpp's sources: files with real models' vocabularies (`ggml-vocab-*.gguf`), texts
(`.inp`) and the ids that the models' own tokenizers give for them (`.out`, made with transformers). The vocabularies
are megabytes. A token that is no part of any text takes no part in its segmentation, and neither does a merge that
makes one; without those they are some kilobytes, and the ids are numbered anew. For the hard texts of these tests the
ids are llama.cpp's own.
"""

from __future__ import annotations

import gzip
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from ftllm_nb.checkpoint.gguf.file import read_gguf
from tests.tokenizer.gguf.golden_vocabularies import FOLDER
from tests.tokenizer.gguf.hard_texts import HARD_TEXTS

SEPARATOR = "\n__ggml_vocab_test__\n"
LEFT_OUT = {
    "ggml-vocab-bert-bge": "WordPiece: no model that writes text has it",
    "ggml-vocab-qwen35": "Qwen2's vocabulary, with ids that no model's own tokenizer made: it composes text first",
}
COMPOSING = ("ggml-vocab-command-r", "ggml-vocab-mpt", "ggml-vocab-qwen2")
"""Their own tokenizers bring text into Unicode's form NFC first, which llama.cpp does not."""
NORMAL = 1


def byte_characters() -> list[str]:
    """The character that stands for each byte in byte-level vocabularies."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte if byte in printable else 0x100 + rest.index(byte)) for byte in range(256)]


def spelled_texts(texts: list[str], model: str) -> str:
    """All texts as tokens spell their parts."""
    if model == "gpt2":
        characters = byte_characters()
        return "\0".join("".join(characters[byte] for byte in text.encode()) for text in texts)
    return "\0".join("▁" + text.replace(" ", "▁") for text in texts)


def reduced(metadata: dict[str, Any], texts: list[str]) -> tuple[dict[str, Any], dict[int, int]]:
    """The metadata with what the texts need, and the new number of each id that is left."""
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    spelled, raw = spelled_texts(texts, metadata["tokenizer.ggml.model"]), "\0".join(texts)
    always = {*byte_characters(), *(f"<0x{byte:02X}>" for byte in range(256))}
    named = {key: value for key, value in metadata.items() if key.endswith("_token_id")}
    kept = [
        at
        for at, token in enumerate(tokens)
        if token in always or at in named.values() or token in (spelled if kinds[at] == NORMAL else raw)
    ]
    number = {old: new for new, old in enumerate(kept)}
    ids = {tokens[at] for at in kept}
    small = {key: value for key, value in metadata.items() if isinstance(value, (str, bool)) and "template" not in key}
    small |= {key: number[value] for key, value in named.items()}
    small["tokenizer.ggml.tokens"] = [tokens[at] for at in kept]
    small["tokenizer.ggml.token_type"] = [int(kinds[at]) for at in kept]
    if metadata["tokenizer.ggml.model"] == "llama":
        small["tokenizer.ggml.scores"] = [float(metadata["tokenizer.ggml.scores"][at]) for at in kept]
    merges = metadata.get("tokenizer.ggml.merges")
    if merges is not None:
        small["tokenizer.ggml.merges"] = [
            merge for merge in merges if {*merge.split(" "), merge.replace(" ", "")} <= ids
        ]
    return small, number


def main(models: Path) -> None:
    for expected in sorted(models.glob("ggml-vocab-*.gguf.out")):
        file = expected.with_suffix("")
        if file.stem in LEFT_OUT or not file.is_file():
            continue
        texts = file.with_suffix(".gguf.inp").read_bytes().decode().split(SEPARATOR)[:-1]
        lines = expected.read_text().splitlines()[: len(texts)]
        cases = [(text, [int(one) for one in line.split()]) for text, line in zip(texts, lines, strict=True)]
        model = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
        for text in HARD_TEXTS:
            if "\0" not in text and not (file.stem in COMPOSING and unicodedata.normalize("NFC", text) != text):
                cases.append((text, model.tokenize(text.encode(), add_bos=False, special=False)))
        opened = read_gguf(file)
        small, number = reduced(opened.metadata, [text for text, _ in cases])
        opened.close()
        golden = {"metadata": small, "cases": [(text, [number[one] for one in ids]) for text, ids in cases]}
        name = file.stem.removeprefix("ggml-vocab-")
        written = json.dumps(golden, ensure_ascii=False, separators=(",", ":"), default=np.generic.item).encode()
        (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(written, mtime=0))
        print(name, len(small["tokenizer.ggml.tokens"]), "tokens", len(cases), "texts")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

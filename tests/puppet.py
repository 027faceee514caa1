"""A model folder whose greedy answer is a given text: for tests of what comes back, from end to end.

The model is a llama without attention and without an MLP: its embedding is the identity, and lm_head maps each token of
the answer to the next one. So each piece of the answer is a token of its own, and the answer begins after the line end
with which the template ends. Control tokens stand for themselves where the answer holds them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

END = "<|im_end|>"
CONTROL = ("<|im_start|>", END)
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHORTEST = 3
"""Bytes of a piece, where no earlier one is like it."""


def write_puppet(
    folder: Path, says: str, template: str = TEMPLATE, control: Sequence[str] = (), added: Sequence[str] = ()
) -> Path:
    """The folder, filled. `control`: further special tokens, `added`: added tokens that are not special; a template
    must end with a line end where it asks for an answer."""
    letters = _byte_letters()
    tokens = list(dict.fromkeys([*CONTROL, *control, *added, *letters]))
    chain = [*_cut(says, [*CONTROL, *control, *added], letters), END]
    tokens += [piece for piece in chain if piece not in set(tokens)]
    ids = {token: number for number, token in enumerate(tokens)}
    folder.mkdir(parents=True)
    width = -(-len(tokens) // 128) * 128
    head = np.zeros((width, width), np.float32)
    followed: dict[str, str] = {}
    for before, token in zip([letters[ord("\n")], *chain], chain, strict=False):
        assert followed.setdefault(before, token) == token, f"{before} has two followers: change the text"
        head[ids[token], ids[before]] = 1
    _write_weights(folder / "model.safetensors", head)
    _write_json(folder / "config.json", {
        "model_type": "llama", "hidden_size": width, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": width, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "max_position_embeddings": 4096, "tie_word_embeddings": False, "eos_token_id": ids[END],
    })  # fmt: skip
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    special = [{"id": ids[each], "content": each, "special": True, **flags} for each in (*CONTROL, *control)]
    plain = [{"id": ids[each], "content": each, "special": False, **flags} for each in added]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    _write_json(folder / "tokenizer.json", {
        "version": "1.0", "added_tokens": [*special, *plain], "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": ids, "merges": []},
    })  # fmt: skip
    _write_json(folder / "tokenizer_config.json", {"eos_token": END, "chat_template": template})
    return folder


def _cut(text: str, control: Sequence[str], letters: list[str]) -> list[str]:
    """The text as tokens, none twice but control tokens: a piece is as short as makes it new."""
    used = {*control, letters[ord("\n")]}
    pieces: list[str] = []
    while text:
        at, token = min(((text.find(each), each) for each in control if each in text), default=(len(text), ""))
        rest = "".join(letters[byte] for byte in text[:at].encode())
        first = len(pieces)
        while rest:
            length = next((n for n in range(SHORTEST, len(rest) + 1) if rest[:n] not in used), len(rest))
            piece, rest = rest[:length], rest[length:]
            while piece in used and len(pieces) > first:  # an end that was said before goes to the piece before it
                used.discard(pieces[-1])
                piece = pieces.pop() + piece
            assert piece not in used, f"{piece!r} is said twice between control tokens: change the text"
            used.add(piece)
            pieces.append(piece)
        text = text[at + len(token) :]
        pieces += [token] if token else []
    return pieces


def _byte_letters() -> list[str]:
    """The character that stands for each byte in byte-level vocabularies."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]


def _write_weights(file: Path, head: np.ndarray) -> None:
    width = len(head)
    layer = "model.layers.0."
    sizes = {"self_attn.q_proj": (64, width), "self_attn.k_proj": (32, width), "self_attn.v_proj": (32, width),
             "self_attn.o_proj": (width, 64), "mlp.gate_proj": (64, width), "mlp.up_proj": (64, width),
             "mlp.down_proj": (width, 64)}  # fmt: skip
    norms = ("model.norm", layer + "input_layernorm", layer + "post_attention_layernorm")
    save_file(
        {
            "model.embed_tokens.weight": np.eye(width, dtype=np.float32),
            "lm_head.weight": head,
            **{f"{norm}.weight": np.ones(width, np.float32) for norm in norms},
            **{f"{layer}{name}.weight": np.zeros(shape, np.float32) for name, shape in sizes.items()},
        },
        file,
    )


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value), encoding="utf-8")

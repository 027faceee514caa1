"""Write a GGUF file of a real model's shape whose blocks are random, in a mix of types as llama.cpp chooses them.

Usage: python bench/random_gguf.py OUT.gguf [--config CONFIG.json] [--type Q4_K_M] [--layers N]

The types of matrices are those that llama-quantize gives them, where it has no importance matrix: which layers have
more bits, and which type stands in where 256 columns do not divide a row. Blocks are random bits with scales such that
products keep the size of what they are multiplied with; nothing is quantized, so that it takes seconds. A vocabulary of
the model's size is made up, with merges, so that `ftllm-nb chat` runs the file, too, and answers with noise.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
from gguf_model import (
    FAMILIES,
    FLOATS,
    TensorNames,
    family_of,
    stacks_of,
    write_file,
    write_settings,
    write_vocabulary,
)
from one_sentence import one_sentence

from ftllm_nb.checkpoint.ggml import block_types, dequantize
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.graph.build import build_graph
from ftllm_nb.loading import described_by

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
FLOATS_AT = {
    "Q4_0": (0,), "Q5_0": (0,), "Q8_0": (0,), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "IQ4_NL": (0,), "IQ4_XS": (0,),
}  # fmt: skip
"""Where a block has its float16: the scale, and that of the minimums, or the minimum. MXFP4 has an exponent alone."""
EXPONENT_OF_ONE = 127
"""Of MXFP4: a block's numbers are multiplied by 2 to the power of its first byte less this."""
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMALLER_BLOCKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"}
"""What stands in where 256 columns do not divide a row."""


class Place(NamedTuple):
    """A matrix: the name in GGUF without its layer ("attn_v"), the layer, how many there are, and how many heads share
    keys and values."""

    name: str
    layer: int
    layers: int
    sharing: int

    @property
    def has_more_bits(self) -> bool:
        """Whether the layer is one of those to which a mix gives more."""
        eighth = self.layers // 8
        return self.layer < eighth or self.layer >= 7 * eighth or (self.layer - eighth) % 3 == 2


def _of_logits(place: Place) -> bool:
    return place.name in ("token_embd", "output")


def _k_mix(usual: str) -> Callable[[Place], str]:
    def chosen(place: Place) -> str:
        more = _of_logits(place) or (place.name in ("attn_v", "ffn_down", "ffn_down_exps") and place.has_more_bits)
        return "Q6_K" if more else usual

    return chosen


def _iq4_xs(place: Place) -> str:
    if _of_logits(place):
        return "Q6_K"
    more = place.name == "attn_v" and place.sharing >= 4
    return "Q5_K" if more or (place.name == "ffn_down" and place.layer < place.layers // 8) else "IQ4_XS"


MIXES: dict[str, Callable[[Place], str]] = {
    "Q4_0": lambda place: "Q6_K" if _of_logits(place) else "Q4_0",
    "Q8_0": lambda place: "Q8_0",
    "Q4_K_M": _k_mix("Q4_K"),
    "Q5_K_M": _k_mix("Q5_K"),
    "Q6_K": lambda place: "Q6_K",
    "IQ4_XS": _iq4_xs,
    "MXFP4": lambda place: "MXFP4" if place.name.endswith("_exps") else "Q8_0",
}
"""The type of each matrix, by what files are called."""


def main() -> None:
    """Write the file that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT.gguf")
    parser.add_argument("--config", default=str(CONFIG),
                        help=f"of type {', '.join(FAMILIES)} (default: Qwen2.5-0.5B's)")  # fmt: skip
    parser.add_argument("--type", choices=MIXES, default="Q4_K_M", help="default: Q4_K_M")
    parser.add_argument("--layers", type=whole_number(1), help="only so many layers (default: all of the config)")
    arguments = parser.parse_args()
    write_random_gguf(arguments.config, arguments.type, Path(arguments.out), arguments.layers)


def write_random_gguf(config_file: str, mix: str, path: Path, layers: int | None = None) -> None:
    """Write the model of a config.json in a mix of types."""
    config = json.loads(Path(config_file).read_text())
    config["num_hidden_layers"] = layers or config["num_hidden_layers"]
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"][: config["num_hidden_layers"]]
    family = family_of(config, config_file)
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, family.name)
    write_settings(writer, config)
    write_vocabulary(writer, *made_up_vocabulary(random, config["vocab_size"]))
    writer.add_chat_template(TEMPLATE)
    family.settings(writer, config)
    names = TensorNames(family, config)
    shapes = build_graph(described_by(config, None, None), config).weight_shapes()
    stacks = {name: (len(each), shapes[each[0]]) for name, each in stacks_of(shapes).items()}
    joined = {name: (count, *shape) if count > 1 else shape for name, (count, shape) in stacks.items()}
    for name, shape in family.shapes(joined).items():
        target = names.of(name)
        if len(shape) == 1 or name.endswith(("norm.weight", ".bias", *FLOATS)):
            values = np.ones(shape) if name.endswith("norm.weight") else random.normal(0, 0.1, shape)
            values = -np.exp(values) if name.endswith("A_log") else values  # rates, by which states decay
            writer.add_tensor(target, values.astype(np.float32))
            continue
        parts = target.split(".")
        layer = int(parts[1]) if parts[0] == "blk" else 0
        sharing = config["num_attention_heads"] // config["num_key_value_heads"]
        kind = MIXES[mix](Place(parts[-2], layer, config["num_hidden_layers"], sharing))
        if shape[-1] % block_types()[kind].columns:
            kind = SMALLER_BLOCKS[kind]
        blocks = random_blocks(random, kind, (math.prod(shape[:-1]), shape[-1])).reshape(*shape[:-1], -1)
        writer.add_tensor(target, blocks, raw_dtype=gguf.GGMLQuantizationType[kind])
    write_file(writer)


def random_blocks(random: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """A matrix of a type, uint8 [rows, bytes of a row]: a product with its rows has the size of what is multiplied."""
    type = block_types()[kind]
    blocks = random.integers(0, 256, (shape[0] * shape[1] // type.columns, type.nbytes), np.uint8)
    few = blocks[:256].copy()
    if kind == "MXFP4":
        few[:, 0] = EXPONENT_OF_ONE
        size = np.log2(dequantize(kind, few).std() * np.sqrt(shape[1]))
        blocks[:, 0] = EXPONENT_OF_ONE - round(size) + random.integers(-1, 2, len(blocks))
        return blocks.reshape(shape[0], -1)
    scale, *minimum = FLOATS_AT[kind]

    def put(target: np.ndarray, at: int, values: np.ndarray) -> None:
        target[:, at : at + 2] = values.astype("<f2").view(np.uint8).reshape(-1, 2)

    for at in (scale, *minimum):
        put(few, at, np.zeros(len(few)))
    put(few, scale, np.ones(len(few)))
    means = dequantize(kind, few)
    ratio = 0.0
    if minimum:  # such that they are 0 in the mean: K types take minimums away, others add one
        put(few, scale, np.zeros(len(few)))
        put(few, minimum[0], np.ones(len(few)))
        ratio = -means.mean() / dequantize(kind, few).mean()
        put(few, scale, np.ones(len(few)))
        put(few, minimum[0], np.full(len(few), ratio))
    size = 1 / (dequantize(kind, few).std() * np.sqrt(shape[1]))
    scales = size * random.uniform(0.5, 1.5, len(blocks))
    put(blocks, scale, scales)
    for at in minimum:
        put(blocks, at, scales * ratio)
    return blocks.reshape(shape[0], -1)


def made_up_vocabulary(random: np.random.Generator, size: int) -> tuple[list[str], list[str]]:
    """So many tokens, those of the template, all bytes and what merges make of them, and the merges."""
    tokens, merges = byte_spellings(), []
    known = set(tokens)
    while len(tokens) + len(CONTROL_TOKENS) < size:
        # early tokens are short and often merged, as in vocabularies that were learnt
        left, right = (tokens[int(len(tokens) * share**3)] for share in random.random(2))
        if left + right not in known and len(left + right) <= 16:
            merges.append(f"{left} {right}")
            tokens.append(left + right)
            known.add(left + right)
    return [*CONTROL_TOKENS, *tokens], merges


def byte_spellings() -> list[str]:
    """The characters that GPT-2's vocabulary has for bytes."""
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]


if __name__ == "__main__":
    with one_sentence():
        main()

"""Live against transformers: logits of random checkpoints over a grid of qwen2 and llama configurations.

Weights are rounded to the stored type and everything is computed in float32 on both sides, with a float32
cache. Each prompt is prefilled at once, then decoded a token at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.engine.executor import Executor, SequenceStep
from tests.executors import ENGINES, open_executor
from tests.golden.small_models import SMALL_MODELS, STORED_TYPES, prompt, write_checkpoint
from tests.oracle.differences import Differences

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch", reason="`make oracle` installs it")
transformers = pytest.importorskip("transformers", reason="`make oracle` installs it")

TOLERANCE = 1e-4
PROMPT_LENGTH, DECODED = 40, 8
ROPES: dict[str, dict[str, Any]] = {
    "rope": {},
    "theta 1e6": {"rope_theta": 1e6},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    # Positions beyond the original context come one at a time: there alone transformers' answer to a prompt
    # depends on how it is cut into steps.
    "dynamic": {
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
        "max_position_embeddings": PROMPT_LENGTH,
        "max_positions": 128,
    },
    "llama3": {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        }
    },
}
DIVISORS = {"short_factor": [1 + j / 10 for j in range(7)], "long_factor": [1.0 + 2 * j for j in range(7)]}
# Of one shape of model each, rotated by whole heads of 14 numbers.
OTHER_ROPES: dict[str, dict[str, Any]] = {
    "yarn": {
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        "max_position_embeddings": 128,
    },
    "yarn as parameters": {
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 5e5,
            "factor": 8.0,
            "original_max_position_embeddings": 2048,
            "beta_fast": 16.0,
            "beta_slow": 2.0,
            "attention_factor": 1.25,
        },
        "rope_theta": 3.0,
    },
    "yarn with mscale": {
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 40.0,
            "mscale": 1.0,
            "mscale_all_dim": 0.707,
            "original_max_position_embeddings": 4096,
        }
    },
    "yarn, not truncated": {
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 32.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
        "rope_theta": 150000,
    },
    "yarn without an original context": {
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0},
        "max_position_embeddings": 64,
    },
    "yarn, original context in the config": {
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 7},
        "original_max_position_embeddings": 64,
    },
    # The prompt is longer than the original context, or the whole context is not: see graph/rope_types/longrope.py.
    "longrope, long": {
        "rope_scaling": {"rope_type": "longrope", "original_max_position_embeddings": 24, **DIVISORS},
        "max_position_embeddings": 96,
    },
    "longrope, short": {
        "rope_scaling": {"rope_type": "longrope", "original_max_position_embeddings": 96, "factor": 4.0, **DIVISORS},
        "max_position_embeddings": 96,
    },
    "longrope, its attention factor": {
        "rope_parameters": {"rope_type": "longrope", "attention_factor": 1.1, "rope_theta": 1e4, **DIVISORS},
        "original_max_position_embeddings": 24,
    },
    "proportional": {
        "rope_parameters": {"rope_type": "proportional", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    },
}
HEADS = {"MHA": (4, 4), "GQA": (6, 2), "MQA": (3, 1)}
HEAD_SIZES = {"head_dim derived": None, "head_dim 22": 22}
EMBEDDINGS = {"untied": False, "tied": True}
BIASES = {
    "qwen2": [{}],
    "llama": [{}, {"attention_bias": True}, {"attention_bias": True, "mlp_bias": True}],
}


def grid() -> Iterator[tuple[str, dict[str, Any], str]]:
    """(name, config, stored type): every pair of choices of an architecture meets; stored types take turns."""
    number = 0
    for architecture, base in (("qwen2", SMALL_MODELS["qwen2_gqa"]), ("llama", SMALL_MODELS["llama_mha"])):
        for (i, (heads, counts)), (j, (rope, rope_entries)) in itertools.product(
            enumerate(HEADS.items()), enumerate(ROPES.items())
        ):
            head_size, head_dim = list(HEAD_SIZES.items())[(i + j) % 2]
            embedding, tied = list(EMBEDDINGS.items())[(i + j // 2) % 2]
            biases = BIASES[architecture][(i + 2 * j) % len(BIASES[architecture])]
            config = {
                **base,
                "hidden_size": counts[0] * 14,
                "intermediate_size": 50 + number % 7,
                "num_attention_heads": counts[0],
                "num_key_value_heads": counts[1],
                "vocab_size": 90 + number % 11,
                "tie_word_embeddings": tied,
                **biases,
                **rope_entries,
            }
            if head_dim is not None:
                config["head_dim"] = head_dim
            stored_type = STORED_TYPES[number % len(STORED_TYPES)]
            parts = [architecture, heads, head_size, embedding, *biases, rope, stored_type]
            yield ", ".join(parts), config, stored_type
            number += 1


def other_ropes() -> Iterator[tuple[str, dict[str, Any], str]]:
    """As `grid`, of the rope types that it does not multiply."""
    for number, (rope, entries) in enumerate(OTHER_ROPES.items()):
        for base in (SMALL_MODELS["qwen2_gqa"], SMALL_MODELS["llama_mha"]):
            sizes = {"hidden_size": 4 * 14, "num_attention_heads": 4, "num_key_value_heads": 2}
            config = {key: value for key, value in base.items() if key != "rope_theta"} | sizes | entries
            stored_type = STORED_TYPES[number % len(STORED_TYPES)]
            yield f"{config['model_type']}, {rope}, {stored_type}", config, stored_type


def transformers_logits(folder: Path, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """float32 [1 + DECODED, vocab_size]: after the prompt, then after each decoded token."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    with torch.inference_mode():
        answer = model(ids[:, :PROMPT_LENGTH], use_cache=True)
        rows = [answer.logits[0, -1].numpy()]
        for position in range(PROMPT_LENGTH, len(tokens)):
            step = ids[:, position : position + 1]
            answer = model(step, past_key_values=answer.past_key_values, use_cache=True)
            rows.append(answer.logits[0, -1].numpy())
    return np.stack(rows)


def our_logits(executor: Executor, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """The same from one of our executors."""
    sequence = executor.cache.new_sequence()
    pieces = [tokens[:PROMPT_LENGTH], *np.split(tokens[PROMPT_LENGTH:], DECODED)]
    return np.stack([executor.run([SequenceStep(sequence, piece)])[0].copy() for piece in pieces])


@pytest.mark.parametrize(
    ("name", "config", "stored_type"), [pytest.param(*row, id=row[0]) for row in (*grid(), *other_ropes())]
)
def test_logits(
    tmp_path: Path, differences: Differences, name: str, config: dict[str, Any], stored_type: str
) -> None:
    folder = write_checkpoint(tmp_path / "model", name, config, stored_type)
    tokens = prompt(name, PROMPT_LENGTH + DECODED, config["vocab_size"])
    expected = transformers_logits(folder, tokens)
    for engine in ENGINES:
        with open_executor(engine, folder) as executor:
            difference = float(np.abs(our_logits(executor, tokens) - expected).max())
        differences.check(name, engine, difference, TOLERANCE)

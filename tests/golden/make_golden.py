"""Write logits.npz: transformers' logits for the models of small_models.py.

    python -m tests.golden.make_golden        (needs torch and transformers: .venv-oracle has them)

For each model and stored type the archive holds float32 [tokens, vocab_size] under "<model>.<stored type>":
the logits after each token of `small_models.prompt(model, PROMPT_LENGTH, …)`, one token a step. The weights
are rounded to the stored type and everything is then computed in float32.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.golden.small_models import SMALL_MODELS, prompt, write_checkpoint

PROMPT_LENGTH = 45
# Every model in float32, and one of each architecture in the types of two bytes.
CASES = [(model, "float32") for model in SMALL_MODELS]
CASES += [(model, stored) for model in ("qwen2_gqa", "llama_head_dim") for stored in ("bfloat16", "float16")]


def transformers_logits(folder: Path, token_ids: np.ndarray) -> np.ndarray:
    """Logits after each token, float32 [tokens, vocab_size], computed in float32 by transformers.

    One token a step: dynamic rope scaling, alone of all, gives a prompt other logits when it comes at once.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    rows, cache = [], None
    with torch.inference_mode():
        for token_id in token_ids:
            answer = model(torch.tensor([[int(token_id)]]), past_key_values=cache, use_cache=True)
            cache = answer.past_key_values
            rows.append(answer.logits[0, -1].numpy())
    return np.stack(rows)


def main() -> None:
    logits: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for model, stored_type in CASES:
            config = SMALL_MODELS[model]
            key = f"{model}.{stored_type}"
            folder = write_checkpoint(Path(scratch) / key, model, config, stored_type)
            logits[key] = transformers_logits(folder, prompt(model, PROMPT_LENGTH, config["vocab_size"]))
            print(f"{key:32} deviation {logits[key].std():.3f}, largest {np.abs(logits[key]).max():.3f}")
    target = Path(__file__).with_name("logits.npz")
    np.savez_compressed(target, **logits)
    print(f"{target}: {target.stat().st_size:,} bytes, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()

"""transformers on PyTorch, as bench/compare.py asks it."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from subject import Subject

from ftllm_nb.benchmark.run import Settings, open_weights


def type_of(subject: Subject) -> str:
    """What the subject's weights are called here; "" for what cannot be run."""
    return "bfloat16" if subject.dtype == "bfloat16" else ""


class Engine:
    """A random model in memory, with one sequence."""

    def __init__(self, subject: Subject, threads: int, folder: Path) -> None:
        warnings.simplefilter("ignore", FutureWarning)  # older versions know the cache by its old name alone
        torch.set_num_threads(threads)
        self.model = random_model(subject.config)
        self.vocab_size = self.model.config.vocab_size
        self.about = f"transformers {transformers.__version__}, torch {torch.__version__}"
        self.clear()

    def clear(self) -> None:
        """Forget all tokens."""
        self.cache = transformers.DynamicCache()

    def step(self, token_ids: np.ndarray) -> tuple[float, np.ndarray]:
        """Append tokens: the seconds, and the last one's logits."""
        ids = torch.from_numpy(token_ids.astype(np.int64))[None]
        with torch.inference_mode():
            started = time.perf_counter()
            output = self.model(ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
            seconds = time.perf_counter() - started
        return seconds, output.logits[0, -1].float().numpy()


def random_model(config_file: str) -> transformers.PreTrainedModel:
    """The model of a config.json in bfloat16, with the random weights that ours has."""
    config = transformers.AutoConfig.for_model(**json.loads(Path(config_file).read_text()))
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    with open_weights(Settings(random_config=config_file, random=True)) as checkpoint:
        stored = {
            name: torch.from_numpy(checkpoint.read(name).copy()).view(torch.bfloat16) for name in checkpoint.tensors
        }
    model.load_state_dict(stored, strict=False)
    return model

"""Write a trained checkpoint, or the average of several, as the bundled model: a Hugging Face folder in bfloat16.

python examples/demo_model/export.py --work /tmp/demo_train [--work FOLDER …] [--to FOLDER]

Trainings that went on from one another, on other dialogues, fail on different questions; the average of their weights
is better than each (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from network import NetworkConfig
from safetensors.torch import save_file
from tokenizer import END, PADDING
from tokenizers import Tokenizer

BUNDLED = Path(__file__).parents[2] / "src" / "ftllm_nb" / "demo"


def model_config(config: NetworkConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """config.json of a Qwen2 model."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **config.to_dict(),
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "use_cache": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(PADDING),
    }


def generation_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """generation_config.json: the likeliest token, until an end token."""
    return {
        "do_sample": False,
        "eos_token_id": [tokenizer.token_to_id(END), tokenizer.token_to_id(PADDING)],
        "pad_token_id": tokenizer.token_to_id(PADDING),
    }


def write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def average(folders: list[Path]) -> dict[str, torch.Tensor]:
    """The mean of the weights that trainings left; float32."""
    trained = [torch.load(folder / "checkpoint.pt", weights_only=True)["network"] for folder in folders]
    return {name: sum(weights[name] for weights in trained) / len(trained) for name in trained[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, action="append", required=True, help="folder that train.py wrote; repeatable"
    )
    parser.add_argument(
        "--to", type=Path, default=BUNDLED, help="folder to write (default: the bundled model)"
    )
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(args.work[0] / "tokenizer.json"))
    args.to.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": weight.bfloat16().contiguous() for name, weight in average(args.work).items()}
    save_file(tensors, args.to / "model.safetensors", metadata={"format": "pt"})
    (args.to / "model.safetensors").chmod(0o644)
    config = NetworkConfig(vocab_size=tokenizer.get_vocab_size())
    write_json(args.to / "config.json", model_config(config, tokenizer))
    write_json(args.to / "generation_config.json", generation_config(tokenizer))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(args.work[0] / name, args.to / name)
    print(f"{sum(tensor.numel() for tensor in tensors.values()):,} parameters written to {args.to}")


if __name__ == "__main__":
    main()

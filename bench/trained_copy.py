"""Make a copy of a model that is trained for some minutes on a text, as those are that people fine-tune.

Usage: python bench/trained_copy.py MODEL OUT --text FILE [--sequences 480] [--length 512] [--rate 2e-5] [--seed 0]

The only real weights that package indexes serve come from GGUF files of 4 and 6 bits, and types with the same blocks
find their grid again. bench/off_grid.py moves numbers within the cells of that grid at random, which makes the model
worse by as much as its file had. Here all weights move to where the text is foretold better, so that it stays as good
as it was.

Steps are AdamW's with a few hundred sequences of the text, products in bfloat16, weights in float32. The text must not
be one that the copy is judged or calibrated with: bench/texts.py makes three. Needs PyTorch and transformers (`make
oracle` builds an environment). OUT holds float32. The last line says how far weights moved, in steps of the grid that
they came from. Where that is well below a half, types that have the old grid still find it: then train a copy that
bench/off_grid.py has made, of which that line says nothing, since there is no grid.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from off_grid import BLOCK, steps
from one_sentence import one_sentence

from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.errors import UsageError
from ftllm_nb.tokenizer.text_file import read_text

WARM_UP = 0.1
"""Of all steps, in which the rate rises; then it falls as a cosine does, to a tenth."""
LEAST_RATE = 0.1
LARGEST_GRADIENT = 1.0
WEIGHTS = "model.safetensors"


def main() -> None:
    """Train the copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder in Hugging Face form")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--text", required=True, help="a file of text, UTF-8")
    parser.add_argument("--sequences", type=whole_number(1), default=480, help="to train with (default: 480)")
    parser.add_argument("--length", type=whole_number(2), default=512, help="tokens of a sequence (default: 512)")
    parser.add_argument("--batch", type=whole_number(1), default=4, help="sequences of a step (default: 4)")
    parser.add_argument("--rate", type=float, default=2e-5, help="the largest rate of learning (default: 2e-5)")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the order of sequences (default: 0)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    arguments = parser.parse_args()
    try:
        import torch
        import transformers
    except ImportError:
        raise UsageError(
            "PyTorch and transformers are not installed: run this with the Python of `make oracle`."
        ) from None
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    train(model, sequences(tokenizer, arguments), arguments)
    save(model, arguments.model, arguments.out)
    print(f"weights moved by {moved(before, model):.2f} steps of their grid (root of the mean square)")


def sequences(tokenizer: Any, arguments: argparse.Namespace) -> np.ndarray:
    """Tokens [sequences, length] from all parts of the text, in an order of chance."""
    ids = tokenizer(read_text(arguments.text), add_special_tokens=False, verbose=False)["input_ids"]
    first = [] if tokenizer.bos_token_id is None else tokenizer("")["input_ids"]
    size = arguments.length - len(first)
    whole = len(ids) // size
    if whole < arguments.sequences:
        raise UsageError(f"{arguments.text} has {whole} sequences of {arguments.length} tokens: ask for fewer.")
    rows = np.array(ids[: whole * size], np.int64).reshape(whole, size)
    chosen = np.random.default_rng(arguments.seed).permutation(whole)[: arguments.sequences]
    return np.concatenate([np.tile(np.array(first, np.int64), (len(chosen), 1)), rows[chosen]], axis=1)


def train(model: Any, rows: np.ndarray, arguments: argparse.Namespace) -> None:
    """One pass over the sequences."""
    import torch

    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.rate, betas=(0.9, 0.95), weight_decay=0.0)
    batches = np.array_split(rows, math.ceil(len(rows) / arguments.batch))
    started, losses = time.perf_counter(), []
    for at, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = arguments.rate * rate_at(at / len(batches))
        ids = torch.from_numpy(batch)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if (at + 1) % 10 == 0 or at + 1 == len(batches):
            seconds = time.perf_counter() - started
            print(f"step {at + 1} of {len(batches)}: loss {np.mean(losses[-10:]):.3f}, {seconds:.0f} s", flush=True)


def rate_at(share: float) -> float:
    """The rate of learning when so much of the training is done, in parts of the largest."""
    if share < WARM_UP:
        return max(share, 0.01) / WARM_UP
    left = (1 - share) / (1 - WARM_UP)
    return LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 - math.cos(math.pi * left))


def save(model: Any, source: Path, out: Path) -> None:
    """The folder, which appears when it is whole."""
    from safetensors.torch import save_file

    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("*.safetensors*"))
    tied = "lm_head.weight" if model.config.tie_word_embeddings else ""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != tied}
    save_file(tensors, partial / WEIGHTS, {"format": "pt"})
    partial.rename(out)


def moved(before: dict[str, Any], model: Any) -> float:
    """How far matrices are from what they were, in steps of the grids of their blocks."""
    total, count = 0.0, 0
    for name, tensor in model.named_parameters():
        if tensor.ndim == 2:
            old = before[name].numpy().reshape(-1, BLOCK)
            step = steps(old)
            off = (tensor.detach().numpy().reshape(-1, BLOCK) - old)[step[:, 0] > 0] / step[step > 0][:, None]
            total, count = total + float(np.square(off).sum(dtype=np.float64)), count + off.size
    return math.sqrt(total / max(1, count))


if __name__ == "__main__":
    with one_sentence():
        main()

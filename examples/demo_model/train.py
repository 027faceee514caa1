"""Train the demo model on the CPU, from nothing but the corpus that the skills generate.

    python examples/demo_model/facts.py --write
    python examples/demo_model/train.py --work /tmp/demo_train
    python examples/demo_model/export.py --work /tmp/demo_train

Matrices learn by Muon, the rest by AdamW; float32 weights are kept, and products run in bfloat16. The rate of
learning rises, stays, and falls in the last part. Skills that fail checks are drawn more often. Interrupted
training goes on with ``--resume``; an exported model is taught changed facts with ``--continue_from``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from random import Random

import torch
from batches import Batch, Encoder, collate, fill
from corpus import SKILLS, held_out_checks, training_dialogue
from exactness import failed_checks, rates_by_skill
from network import Network, NetworkConfig
from safetensors.torch import load_file
from tokenizer import save_tokenizer, train_tokenizer
from tokenizers import Tokenizer
from torch.nn import functional

TOKENS_PER_STEP = 8192
WARM_UP_STEPS = 60
MUON_RATE = 0.02
ADAM_RATE = 0.004
WEIGHT_DECAY = 0.02
BASE_WEIGHTS = {
    "about_ftllm_nb": 3.0,
    "addition": 2.5,
    "calendar": 1.5,
    "capitals": 1.5,
    "comparing": 5.0,
    "memory_of_name": 2.5,
    "multiplication": 1.5,
    "nothing_told": 0.4,
    "number_words": 1.5,
    "reversing": 6.0,
    "small_talk": 1.5,
    "small_talk_chinese": 1.2,
    "spelling": 3.0,
    "subtraction": 3.5,
}


class Trainer:
    """The network, its bfloat16 twin that computes, the optimizers, and the mix of skills."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        torch.manual_seed(seed)
        self.seed = seed
        self.step = 0
        self.encoder = Encoder(tokenizer)
        self.weights = {skill: BASE_WEIGHTS.get(skill, 1.0) for skill in SKILLS}
        self.network = Network(NetworkConfig(vocab_size=tokenizer.get_vocab_size()))
        self.worker = Network(self.network.config).bfloat16()
        for layer in self.worker.layers:
            layer.before = torch.compile(layer.before, dynamic=False)
            layer.after = torch.compile(layer.after, dynamic=False)
        parameters = dict(self.network.named_parameters())
        matrices = [p for name, p in parameters.items() if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in parameters.items() if p.ndim == 1 or "embed" in name]
        self.optimizers = [
            torch.optim.Muon(matrices, lr=MUON_RATE, momentum=0.95, weight_decay=WEIGHT_DECAY),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.checks = [check for skill in SKILLS for check in held_out_checks(skill, 100, seed=1)]

    def copy_to_worker(self) -> None:
        """Give the bfloat16 twin the weights of now."""
        with torch.no_grad():
            for kept, used in zip(self.network.parameters(), self.worker.parameters(), strict=True):
                used.copy_(kept)
                used.grad = None

    def batch(self) -> Batch:
        """The step's dialogues: the same for the same seed, step and mix."""
        random = Random(f"{self.seed}:{self.step}")
        documents = fill(
            lambda: self.encoder.document(training_dialogue(random, self.weights)), TOKENS_PER_STEP
        )
        return collate(documents, TOKENS_PER_STEP)

    def train_step(self, rate: float) -> float:
        """One step at this share of the full learning rate; the loss."""
        self.copy_to_worker()
        batch = self.batch()
        logits = self.worker(batch.ids, batch.positions, batch.groups, batch.wanted)
        losses = functional.cross_entropy(logits, batch.targets, reduction="none")
        loss = (losses * batch.counts).sum() / (batch.counts == 1).sum()
        loss.backward()
        for kept, used in zip(self.network.parameters(), self.worker.parameters(), strict=True):
            kept.grad = used.grad.float()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer, full in zip(self.optimizers, (MUON_RATE, ADAM_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = full * rate
            optimizer.step()
        self.step += 1
        return float(loss.detach())

    def rates(self) -> dict[str, float]:
        """The share of held-out questions answered exactly, by skill."""
        return rates_by_skill(self.checks, failed_checks(self.network, self.encoder, self.checks))

    def reweigh(self, rates: dict[str, float]) -> None:
        """Draw failing skills up to three times as often, mastered ones half as often."""
        for skill, rate in rates.items():
            factor = 0.5 + 2.5 * min(1.0, (1 - rate) * 4)
            self.weights[skill] = round(BASE_WEIGHTS.get(skill, 1.0) * factor, 3)

    def save(self, path: Path) -> None:
        """Write everything that going on needs; an interrupted write leaves the old file."""
        state = {
            "step": self.step,
            "weights": self.weights,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(path, weights_only=True)
        self.step, self.weights = state["step"], {**self.weights, **state["weights"]}
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


def rise_and_fall(step: int, steps: int, decay: float) -> float:
    """Share of the learning rate: a linear rise, a plateau, a linear fall over the last ``decay`` part."""
    fall = max(1, math.ceil(steps * decay))
    return min(1.0, (step + 1) / WARM_UP_STEPS, (steps - step) / fall)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the checkpoint and the tokenizer")
    parser.add_argument("--steps", type=int, default=3700, help="steps of this rise and fall of the rate")
    parser.add_argument("--rate", type=float, default=1.0, help="share of the full learning rate")
    parser.add_argument(
        "--decay", type=float, default=0.4, help="part of the steps over which the rate falls"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="finish the interrupted training of --work")
    start.add_argument("--continue_from", type=Path, metavar="FOLDER", help="teach an exported model anew")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the dialogues")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def start_trainer(args: argparse.Namespace) -> Trainer:
    """A trainer with new weights, an interrupted training's or an exported model's."""
    source = args.work if args.resume else args.continue_from
    if source is None:
        tokenizer = train_tokenizer(seed=args.seed)
    else:
        tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    save_tokenizer(tokenizer, args.work)
    trainer = Trainer(tokenizer, args.seed)
    if args.resume:
        trainer.load(args.work / "checkpoint.pt")
    elif source is not None:
        weights = load_file(source / "model.safetensors")
        trainer.network.load_state_dict({name.removeprefix("model."): weights[name] for name in weights})
        trainer.reweigh(trainer.rates())
    return trainer


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    trainer = start_trainer(args)
    began, losses = time.monotonic(), []
    while trainer.step < args.steps:
        losses.append(trainer.train_step(args.rate * rise_and_fall(trainer.step, args.steps, args.decay)))
        if trainer.step % 20 == 0:
            speed = len(losses) * TOKENS_PER_STEP / (time.monotonic() - began)
            print(f"step {trainer.step} loss {sum(losses[-20:]) / 20:.4f} {speed:.0f} tokens/s", flush=True)
        if trainer.step % 100 == 0 or trainer.step == args.steps:
            rates = trainer.rates()
            trainer.reweigh(rates)
            print(json.dumps({skill: round(rate, 3) for skill, rate in rates.items()}), flush=True)
            trainer.save(args.work / "checkpoint.pt")


if __name__ == "__main__":
    main()

"""Ask the demo model held-out questions and print the share of exact answers, skill by skill.

    python examples/demo_model/evaluate.py                         # the bundled model, by ftllm-nb's engine
    python examples/demo_model/evaluate.py --backend torch         # by PyTorch, in one pass a question
    python examples/demo_model/evaluate.py --dtype float32,int8,int4g32 --also FOLDER
    python examples/demo_model/evaluate.py --path FOLDER --show 5

With several types, or folders of quantized models, each is a column, and the last lines say how far each is from the
first.

Questions are of two kinds: contents never trained on (number pairs, words, names), or, for closed lists, ways
to ask that were never trained on. The exit status is 1 where a skill answers fewer than ``--at_least`` right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from corpus import SKILLS, Check, held_out_checks

LONGEST_ANSWER = 120


def ask_engine(path: str, dtype: str, checks: list[Check], args: argparse.Namespace) -> Iterator[str]:
    """Greedy answers of ``ftllm_nb.llm``."""
    from ftllm_nb import llm

    with llm.model(
        path, dtype=dtype, kv_cache_dtype="float32", engine=args.engine, threads=args.threads
    ) as model:
        for check in checks:
            yield model.response(check.messages, max_length=LONGEST_ANSWER, temperature=0)


def failed_in_torch(path: Path, checks: list[Check]) -> list[Check]:
    """The checks that the network fails in PyTorch."""
    from batches import Encoder
    from exactness import failed_checks
    from network import Network, NetworkConfig
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    network = Network(NetworkConfig(**{name: config[name] for name in NetworkConfig.__dataclass_fields__}))
    weights = load_file(path / "model.safetensors")
    network.load_state_dict({name.removeprefix("model."): weight.float() for name, weight in weights.items()})
    return failed_checks(network, Encoder(Tokenizer.from_file(str(path / "tokenizer.json"))), checks)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--path", default="demo", help="the model (default: the bundled one)")
    parser.add_argument("--backend", choices=("engine", "torch"), default="engine", help="what computes")
    parser.add_argument("--dtype", default="float32", help="the engine's type of the weights, or several: int8,int4")
    parser.add_argument("--also", action="append", default=[], help="another folder, in the type it has; repeatable")
    parser.add_argument("--engine", choices=("compiled", "reference"), default="compiled", help="as for chat")
    parser.add_argument("--threads", type=int, help="threads of the engine (default: its own)")
    parser.add_argument("--count", type=int, default=200, help="most questions a skill")
    parser.add_argument("--seed", type=int, default=0, help="which questions")
    parser.add_argument("--skill", choices=tuple(SKILLS), action="append", help="only this skill; repeatable")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N wrong answers a skill")
    parser.add_argument("--at_least", type=float, default=0.95, help="share that each skill must reach")
    args = parser.parse_args()
    checks = [c for skill in args.skill or SKILLS for c in held_out_checks(skill, args.count, args.seed)]
    if args.backend == "torch":
        bundled = Path(__file__).parents[2] / "src" / "ftllm_nb" / "demo"
        failed = failed_in_torch(bundled if args.path == "demo" else Path(args.path), checks)
        wrong = {"torch": {id(check): "" for check in failed}}
    else:
        asked_of = [(dtype, args.path, dtype) for dtype in args.dtype.split(",")]
        wrong = {
            name: {
                id(check): answer
                for check, answer in zip(checks, ask_engine(path, dtype, checks, args), strict=True)
                if answer != check.answer
            }
            for name, path, dtype in asked_of + [(folder, folder, "auto") for folder in args.also]
        }
    return 0 if print_rates(checks, wrong, args) else 1


def print_rates(checks: list[Check], wrong: dict[str, dict[int, str]], args: argparse.Namespace) -> bool:
    """A line a skill, a column for each entry of `wrong` (answers by check); whether all reached `at_least`."""
    passed = True
    widths = [max(8, len(name)) for name in wrong]
    if len(wrong) > 1:
        print(f"{'':20}   questions  " + "  ".join(f"{name:>{w}}" for name, w in zip(wrong, widths, strict=True)))
    totals = []
    for skill in [*dict.fromkeys(check.skill for check in checks), "all"]:
        asked = [check for check in checks if skill in (check.skill, "all")]
        failures = [[check for check in asked if id(check) in answers] for answers in wrong.values()]
        totals = [1 - len(failed) / len(asked) for failed in failures]
        passed &= skill == "all" or min(totals) >= args.at_least
        rates = "  ".join(f"{rate:{w}.1%}" for rate, w in zip(totals, widths, strict=True))
        print(f"{skill:20} of {len(asked):8}  {rates}", flush=True)
        for name, failed in zip(wrong, failures, strict=True):
            for check in failed[: args.show if skill != "all" else 0]:
                given = wrong[name][id(check)]
                print(f"    {name}: {check.messages[-1]['content']!r}: {given!r} instead of {check.answer!r}")
    for name, rate in list(zip(wrong, totals, strict=True))[1:]:
        print(f"{name}: {100 * (rate - totals[0]):+.2f} points from {next(iter(wrong))}")
    return passed


if __name__ == "__main__":
    sys.exit(main())

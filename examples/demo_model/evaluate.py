"""Ask the demo model held-out questions and print the share of exact answers, skill by skill.

    python examples/demo_model/evaluate.py                         # the bundled model, by ftllm-nb's engine
    python examples/demo_model/evaluate.py --backend torch         # by PyTorch, in one pass a question
    python examples/demo_model/evaluate.py --path FOLDER --dtype int8 --show 5

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


def ask_engine(path: str, checks: list[Check], args: argparse.Namespace) -> Iterator[str]:
    """Greedy answers of ``ftllm_nb.llm``."""
    from ftllm_nb import llm

    with llm.model(
        path, args.dtype, kv_cache_dtype="float32", engine=args.engine, threads=args.threads
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
    parser.add_argument("--dtype", default="float32", help="the engine's type of the weights")
    parser.add_argument("--engine", choices=("compiled", "reference"), default="compiled", help="as for chat")
    parser.add_argument("--threads", type=int, help="threads of the engine (default: its own)")
    parser.add_argument("--count", type=int, default=200, help="most questions a skill")
    parser.add_argument("--seed", type=int, default=0, help="which questions")
    parser.add_argument("--skill", choices=tuple(SKILLS), action="append", help="only this skill; repeatable")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N wrong answers a skill")
    parser.add_argument("--at_least", type=float, default=0.95, help="share that each skill must reach")
    args = parser.parse_args()
    passed = True
    total = exact = 0
    checks = [c for skill in args.skill or SKILLS for c in held_out_checks(skill, args.count, args.seed)]
    if args.backend == "torch":
        bundled = Path(__file__).parents[2] / "src" / "ftllm_nb" / "demo"
        failed = failed_in_torch(bundled if args.path == "demo" else Path(args.path), checks)
        wrong = {id(check): "" for check in failed}
    else:
        answers = zip(checks, ask_engine(args.path, checks, args), strict=True)
        wrong = {id(check): answer for check, answer in answers if answer != check.answer}
    for skill in dict.fromkeys(check.skill for check in checks):
        asked = [check for check in checks if check.skill == skill]
        failures = [check for check in asked if id(check) in wrong]
        rate = 1 - len(failures) / len(asked)
        passed &= rate >= args.at_least
        total, exact = total + len(asked), exact + len(asked) - len(failures)
        print(f"{skill:20} {len(asked) - len(failures):4} of {len(asked):4}  {rate:7.1%}", flush=True)
        for check in failures[: args.show]:
            print(f"    {check.messages[-1]['content']!r}: {wrong[id(check)]!r} instead of {check.answer!r}")
    print(f"{'all':20} {exact:4} of {total:4}  {exact / total:7.1%}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

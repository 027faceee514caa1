"""Print how fast the same model runs in ftllm-nb, in llama.cpp and in transformers, and the ratios.

Usage: python bench/compare.py --gguf FILE… [--ik LLAMA_BENCH] [-t 2] [-p 512] [-n 64] [-r 5]
       python bench/compare.py [--config CONFIG.json] [--dtype int4g32 int8g32 bfloat16] [-t 2] [-p 512] [-n 64] [-r 5]

With --gguf, ftllm-nb and llama.cpp run these very files; bench/random_gguf.py writes some of real shapes. Otherwise a
model is made up: int4g32 stands beside llama.cpp's Q4_0, int8g32 beside Q8_0 (the same bits a weight), the embedding
and the matrix that makes logits at 8.5 bits in both; int4g128 and int8 stand beside OpenVINO's. A peer that is not
installed is left out: `make peers` builds llama.cpp in an environment of its own and runs this there; `pip install
torch transformers`, `pip install optimum-intel openvino nncf`. Each engine has a process
of its own for each type. They take turns, so that a machine that slows down slows all; speeds are medians over rounds,
ratios medians of each round's ratio. `agrees` is the correlation of the logits after the prompt with ours: that it is
the same model. With 4 bits each engine rounds the weights of a made-up model in its own way, and layers of random
weights make more of the difference the more there are.

--ik: the llama-bench that ik_llama.cpp was built with. It repacks weights as it loads (-rtr 1), takes its turn in each
round, a process for each, and tells speeds of its own tokens, but no logits.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from llama_bench import speeds
from one_sentence import one_sentence
from subject import Subject, gguf_types

from ftllm_nb.benchmark.cpu_name import cpu_name
from ftllm_nb.cli.number_types import whole_number

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
OURS = "ours"
IK = "ik_llama.cpp"
ENGINES = {OURS: "ftllm-nb", "llama": "llama.cpp", "pytorch": "transformers", "openvino": "OpenVINO"}
"""Files of engines/, and what they are called."""
READ_GGUF = (OURS, "llama")
PAUSE_SECONDS = 0.3
"""Between two turns: threads of the one that is done spin for a while before they sleep."""
DECODE_PROMPT_TOKENS = 16
"""In the cache before decode is timed."""


def main() -> None:
    """Open what is installed, take turns, print a table a type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", nargs="+", metavar="FILE", help="models, each a file; of a split one the first")
    parser.add_argument("--ik", metavar="LLAMA_BENCH", help="with --gguf: ik_llama.cpp's llama-bench, to run beside")
    parser.add_argument("--config", default=str(CONFIG),
                        help="qwen2, qwen3, qwen3_moe, llama or gemma3_text (default: Qwen2.5-0.5B's)")  # fmt: skip
    parser.add_argument("--dtype", nargs="+", default=["int4g32", "int8g32", "bfloat16"], help="default: all three")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("-p", "--n_prompt", type=whole_number(1), default=512,
                        help="tokens of the prompt (default: 512)")  # fmt: skip
    parser.add_argument("-n", "--n_gen", type=whole_number(1), default=64, help="tokens generated (default: 64)")
    parser.add_argument("-r", "--repetitions", type=whole_number(1), default=5, help="rounds (default: 5)")
    arguments = parser.parse_args()
    if arguments.ik is not None and arguments.gguf is None:
        parser.error("--ik runs files: give them with --gguf")
    subjects = [Subject(config=arguments.config, dtype=dtype) for dtype in arguments.dtype]
    if arguments.gguf is not None:
        subjects = [Subject(gguf=file) for file in arguments.gguf]
        for file in arguments.gguf:
            gguf_types(file)  # what is wrong with the last one shows before the first is measured
    print(f"{cpu_name()}, {arguments.threads} threads, {datetime.date.today()}")
    print(f"medians of {arguments.repetitions} rounds, tokens/s\n")
    said: set[str] = set()
    for subject in subjects:
        if subject.gguf or subject is subjects[0]:
            print(f"{Path(subject.gguf or subject.config).stem}\n")
        runners = {}
        for name in READ_GGUF if subject.gguf else ENGINES:
            runner = Runner(name, subject, arguments.threads)
            if runner.absent:
                if runner.absent not in said:
                    print(runner.absent + "\n")
                said.add(runner.absent)
            else:
                runners[name] = runner
        if OURS not in runners:
            raise SystemExit(2)
        compare(runners, arguments, subject)
        for runner in runners.values():
            runner.close()


def compare(runners: dict[str, Runner], arguments: argparse.Namespace, subject: Subject) -> None:
    """Take turns and print a table."""
    n_prompt, n_gen, rounds = arguments.n_prompt, arguments.n_gen, arguments.repetitions
    vocab_size = min(runner.vocab_size for runner in runners.values())
    ids = np.random.default_rng(0).integers(0, vocab_size, max(n_prompt, DECODE_PROMPT_TOKENS + n_gen), np.int32)
    names = [*runners, *([IK] if arguments.ik is not None else [])]
    prefill: dict[str, list[float]] = {name: [] for name in names}
    decode: dict[str, list[float]] = {name: [] for name in names}
    logits = {}
    for round_number in range(rounds + 1):
        for name, runner in runners.items():
            time.sleep(PAUSE_SECONDS)
            seconds, logits[name] = runner.ask("prefill", ids[:n_prompt])
            taken, _ = runner.ask("decode", ids[: DECODE_PROMPT_TOKENS + n_gen])
            if round_number > 0:
                prefill[name].append(n_prompt / seconds)
                decode[name].append(n_gen / taken)
        if arguments.ik is not None and round_number > 0:
            time.sleep(PAUSE_SECONDS)
            found = speeds(arguments.ik, subject.gguf, arguments.threads, n_prompt, n_gen)
            for speed, own in zip(found, (prefill, decode), strict=True):
                own[IK].append(speed)
    print(f"| engine | type | pp{n_prompt} | ours × | tg{n_gen} | ours × | agrees |")
    print("| ------ | ---- | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        kind = runners[name].type if name in runners else gguf_types(subject.gguf)
        agrees = "—"
        if name in logits:
            agrees = f"{np.corrcoef(logits[OURS][:vocab_size], logits[name][:vocab_size])[0, 1]:.4f}"
        print(
            f"| {ENGINES.get(name, name)} | {kind} | {statistics.median(prefill[name]):.1f} "
            f"| {ratio(prefill[OURS], prefill[name]):.2f} | {statistics.median(decode[name]):.1f} "
            f"| {ratio(decode[OURS], decode[name]):.2f} | {agrees} |"
        )
    print()
    for name, runner in runners.items():
        print(f"{ENGINES[name]}: {runner.about}")
    print(flush=True)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over rounds."""
    return statistics.median(own / other for own, other in zip(ours, theirs, strict=True))


class Runner:
    """An engine in a process of its own: what it holds, its threads and its libraries disturb no other's."""

    def __init__(self, name: str, subject: Subject, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, name, subject, threads), daemon=True)
        self._process.start()
        other.close()
        try:
            self.absent, self.type, self.about, self.vocab_size = self._pipe.recv()
        except EOFError:
            self._process.join()
            status = self._process.exitcode
            self.absent = f"{ENGINES[name]} is left out: its process ended with status {status}; see engines/{name}.py."

    def ask(self, what: str, token_ids: np.ndarray) -> tuple[float, np.ndarray]:
        """Seconds, and the last logits, of a "prefill" of tokens, or of the "decode" of those after the first few."""
        self._pipe.send((what, token_ids))
        return self._pipe.recv()

    def close(self) -> None:
        """End the process, and with it give back its memory."""
        self._pipe.close()
        self._process.join()


def serve(pipe: Connection, name: str, subject: Subject, threads: int) -> None:
    """The life of an engine's process: open, say what it is, then answer until the pipe is closed."""
    try:
        module = importlib.import_module(f"engines.{name}")
    except ModuleNotFoundError as error:
        pipe.send((f"{ENGINES[name]} is left out: {error.name} is not installed.", "", "", 0))
        return
    kind = module.type_of(subject)
    if not kind:
        pipe.send((f"{ENGINES[name]} is left out in {subject.dtype}: it has no such type.", "", "", 0))
        return
    with one_sentence(), tempfile.TemporaryDirectory() as folder:
        engine = module.Engine(subject, threads, Path(folder))
    engine.step(np.arange(32, dtype=np.int32))
    pipe.send(("", kind, engine.about, engine.vocab_size))
    while True:
        try:
            what, ids = pipe.recv()
        except EOFError:
            return
        engine.clear()
        if what == "prefill":
            pipe.send(engine.step(ids))
            continue
        engine.step(ids[:DECODE_PROMPT_TOKENS])
        steps = [engine.step(ids[at : at + 1]) for at in range(DECODE_PROMPT_TOKENS, len(ids))]
        pipe.send((sum(seconds for seconds, _ in steps), steps[-1][1]))


if __name__ == "__main__":
    with one_sentence():
        main()

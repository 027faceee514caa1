"""Print how the server holds up: many clients, long prompts beside short ones, shared prefixes.

Usage: python bench/serving.py [--config CONFIG.json] [--dtype int4g32] [-t N] [--soak SECONDS] [--chunk N]

1. Random weights of --config: tokens/s of 16 requests at once beside `ftllm-nb bench --batch 16` in the same run; the
   time to first token of a short request alone and beside a 4,000-token prompt; of the second of two requests that
   share 1,000 tokens.
2. The demo model: 32 clients that stream answers of uneven length for --soak seconds. Every greedy answer is compared
   with the one that a single user gets; the server's memory is taken after the first fifth and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
QUESTIONS = [f"What is {a} + {b}?" for a in (3, 17, 20) for b in (5, 25)] + [
    "Count from 3 to 9.", "What is the capital of France?", "Spell the word garden.", "What does --top_k do?",
]  # fmt: skip


TEXT = range(300, 1300)
"""Ids that the demo model's tokenizer spells as words and parts of words."""


async def ask(port: int, path: str, body: dict[str, Any]) -> tuple[float, float, str, int]:
    """(seconds to the first token, seconds in all, text, tokens) of a streamed answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    data = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(data)}\r\n\r\n".encode() + data
    )
    started = time.perf_counter()
    first, text, tokens, done = 0.0, "", 0, False
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"{status!r}: {(await reader.read())[-500:]!r}")
    while line := await reader.readline():
        if line.startswith(b"data: [DONE]"):
            done = True
        elif line.startswith(b"data: "):
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise RuntimeError(chunk["error"]["message"])
            if chunk.get("usage"):
                tokens = chunk["usage"]["completion_tokens"]
            for choice in chunk["choices"]:
                piece = choice["text"] if "text" in choice else choice["delta"].get("content", "")
                first = first or (time.perf_counter() - started if piece or choice["logprobs"] else 0.0)
                text += piece
    writer.close()
    if not done:
        raise RuntimeError("the stream ended early")
    return first, time.perf_counter() - started, text, tokens


def prompt(length: int, seed: int) -> list[int]:
    """Random token ids."""
    return random.Random(seed).choices(range(3, 2000), k=length)


async def complete(port: int, ids: list[int], tokens: int) -> tuple[float, float, str, int]:
    """A completion that does not end by itself, of tokens that are text, so that each is a piece of the stream."""
    body = {"prompt": ids, "max_tokens": tokens, "temperature": 0, "logit_bias": dict.fromkeys(map(str, TEXT), 100)}
    return await ask(port, "/v1/completions", body)


async def random_model_figures(port: int, batched: float, short_tokens: int) -> None:
    """The first part's figures. `batched`: tokens/s of `ftllm-nb bench --batch 16`."""
    await complete(port, prompt(40, 0), 8)
    started = time.perf_counter()
    answers = await asyncio.gather(*(complete(port, prompt(16, 100 + number), 200) for number in range(16)))
    seconds = time.perf_counter() - started
    rate = sum(tokens for *_, tokens in answers) / seconds
    print(f"16 requests at once: {rate:.1f} tokens/s, {rate / batched:.2f} of bench --batch 16 ({batched:.1f})")

    alone = [(await complete(port, prompt(short_tokens, 200 + number), 1))[0] for number in range(7)]
    beside = []
    for number in range(7):
        long = asyncio.ensure_future(complete(port, prompt(4000, 300 + number), 1))
        await asyncio.sleep(0.3 + 0.1 * number)
        beside.append((await complete(port, prompt(short_tokens, 400 + number), 1))[0])
        assert not long.done(), "the long prompt was over too soon"
        await long
    ratio = statistics.median(beside) / statistics.median(alone)
    print(
        f"time to first token of {short_tokens} tokens: {milliseconds(alone)} alone, "
        f"{milliseconds(beside)} beside a 4000-token prompt: {ratio:.2f} times"
    )

    ratios, firsts, seconds_ones = [], [], []
    for number in range(5):
        shared = prompt(1000, 500 + number)
        firsts.append((await complete(port, [*shared, *prompt(10, 1)], 1))[0])
        seconds_ones.append((await complete(port, [*shared, *prompt(10, 2)], 1))[0])
        ratios.append(seconds_ones[-1] / firsts[-1])
    print(
        f"a shared prefix of 1000 tokens: {milliseconds(firsts)} first, {milliseconds(seconds_ones)} second: "
        f"{statistics.median(ratios):.3f}"
    )


def milliseconds(seconds: list[float]) -> str:
    """Median and largest."""
    return f"{1000 * statistics.median(seconds):.0f} ms (at most {1000 * max(seconds):.0f})"


async def soak(port: int, pid: int, seconds: float) -> None:
    """The second part's figures."""

    async def answer(question: str, most: int) -> str:
        body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": most}
        return (await ask(port, "/v1/chat/completions", body))[2]

    lengths = (2, 8, 40, 200)
    expected = {(question, most): await answer(question, most) for question in QUESTIONS for most in lengths}
    end = time.monotonic() + seconds
    done, wrong, errors = 0, 0, 0
    memory: list[int] = []

    async def client(number: int) -> None:
        nonlocal done, wrong, errors
        rng = random.Random(number)
        while time.monotonic() < end:
            key = (rng.choice(QUESTIONS), rng.choice(lengths))
            try:
                wrong += await answer(*key) != expected[key]
            except Exception as error:
                errors += 1
                print(f"client {number}: {error}", file=sys.stderr)
            done += 1

    async def watch() -> None:
        await asyncio.sleep(seconds / 5)
        memory.append(resident_bytes(pid))
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        memory.append(resident_bytes(pid))

    await asyncio.gather(watch(), *(client(number) for number in range(32)))
    print(
        f"32 clients for {seconds:.0f} s: {done} answers, {errors} errors, {wrong} differ from a single user's; "
        f"memory {memory[0] / 1e6:.1f} MB after {seconds / 5:.0f} s, {memory[1] / 1e6:.1f} MB at the end"
    )


def resident_bytes(pid: int) -> int:
    """The process's resident memory."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) << 10


def serve_random(config: str, dtype: str, threads: int, port: int, chunk: int) -> None:
    """Serve random weights under the demo model's tokenizer; the child process of this script."""
    from ftllm_nb.benchmark.run import Settings, open_weights
    from ftllm_nb.engine.weight_types import WeightTypes
    from ftllm_nb.engine_options import EngineOptions
    from ftllm_nb.loading import LoadedModel, describe, load, open_executor
    from ftllm_nb.serving.options import ServerOptions
    from ftllm_nb.serving.run import run_server

    def load_random() -> LoadedModel:
        checkpoint = open_weights(Settings(random_config=config, random=True, options=EngineOptions(dtype=dtype)))
        graph = describe(checkpoint)
        executor = open_executor(graph, checkpoint, WeightTypes(dtype), threads=threads)
        demo = load("demo", EngineOptions(threads=1))
        demo.executor.close()
        return LoadedModel(checkpoint, graph, demo.tokenizer, executor, threads, WeightTypes(dtype), "float16")

    options = ServerOptions(port=port, chunked_prefill_size=chunk)
    run_server(options, load_random, lambda sentence: print(sentence, file=sys.stderr, flush=True))


def start(*command: str) -> tuple[subprocess.Popen[str], int]:
    """A server and its port, once it is ready."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(r":(\d+)/v1 is ready", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, int(match[1])
    raise SystemExit("the server did not start")


def main() -> None:
    """Measure both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(CONFIG), help="a config.json (default: Qwen2.5-0.5B's)")
    parser.add_argument("--dtype", default="int4g32", help="weight format (default: int4g32)")
    parser.add_argument("-t", "--threads", type=int, default=2, help="default: 2")
    parser.add_argument("--soak", type=float, default=300, metavar="SECONDS", help="0: not at all (default: 300)")
    parser.add_argument("--chunk", type=int, default=128, help="--chunked_prefill_size (default: 128)")
    parser.add_argument("--short", type=int, default=64, help="tokens of the short prompt (default: 64)")
    parser.add_argument("--only_soak", action="store_true", help="leave the first part out")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_random(arguments.config, arguments.dtype, arguments.threads, 0, arguments.chunk)
        return
    shared = ["--config", arguments.config, "--dtype", arguments.dtype, "-t", str(arguments.threads)]
    if not arguments.only_soak:
        bench = [sys.executable, "-m", "ftllm_nb", "bench", "--random", *shared]
        bench += ["--batch", "16", "-p", "0", "-n", "128"]
        table = subprocess.run(bench, check=True, capture_output=True, text=True).stdout
        batched = float(re.findall(r"([\d.]+) ± ", table)[-1])
        process, port = start(sys.executable, __file__, "--serve", "--chunk", str(arguments.chunk), *shared)
        try:
            asyncio.run(random_model_figures(port, batched, arguments.short))
        finally:
            process.terminate()
            process.wait()
    if arguments.soak:
        process, port = start(
            sys.executable, "-m", "ftllm_nb.server", "demo", "--port", "0", "-t", str(arguments.threads)
        )
        try:
            asyncio.run(soak(port, process.pid, arguments.soak))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()

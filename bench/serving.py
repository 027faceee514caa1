"""Print how the server holds up: many clients, long prompts beside short ones, shared prefixes.

Usage: python bench/serving.py [--only PART ...] [--config CONFIG.json] [--dtype int4g32] [-t N] [--soak SECONDS]

With random weights of --config
  throughput    tokens/s of 16 requests at once, in turns with `ftllm-nb bench --batch 16`
  first_token   time to the first token of short prompts, alone and beside a 4,000-token prefill
  prefix        the same of the second of two requests that share 1,000 tokens
  peer          tokens/s of 16 requests at once, in turns with llama-cpp-python's server on the same weights as Q4_0.
                --peer names the Python where llama-cpp-python[server] and gguf are installed
With the demo model
  soak          32 clients that stream answers of uneven length for --soak seconds. Every greedy answer is compared
                with the one that a single user gets; the server's memory is taken after the first fifth and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from one_sentence import one_sentence

from ftllm_nb.cli.number_types import whole_number

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
QUESTIONS = [f"What is {a} + {b}?" for a in (3, 17, 20) for b in (5, 25)] + [
    "Count from 3 to 9.", "What is the capital of France?", "Spell the word garden.", "What does --top_k do?",
]  # fmt: skip


PARTS = ["throughput", "first_token", "prefix", "soak"]
WITH_PEER = [*PARTS, "peer"]
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
    body = {"prompt": ids, "max_tokens": tokens, "temperature": 0, "stop_loops": False}
    body["logit_bias"] = dict.fromkeys(map(str, TEXT), 100)
    return await ask(port, "/v1/completions", body)


async def throughput(port: int, bench: list[str], rounds: int = 3) -> None:
    """Tokens/s of 16 requests at once, in turns with `ftllm-nb bench --batch 16`, which is the command `bench`."""
    ratios = []
    for number in range(rounds):
        table = subprocess.run([*bench, "--json"], check=True, capture_output=True, text=True).stdout
        batched = json.loads(table)["results"][-1]["tokens_per_s"]
        rate = await rate_of_16(port, 128, 99 * number)
        ratios.append(rate / batched)
        print(f"16 requests at once: {rate:.1f} tokens/s, bench --batch 16: {batched:.1f}: {ratios[-1]:.2f}")
    print(f"  median {statistics.median(ratios):.2f}")


async def first_token(port: int, lengths: list[int]) -> None:
    """Time to the first token of short prompts, alone and beside a prefill of 4,000 tokens."""
    for length in lengths:
        alone, beside, long_ones = [], [], []
        for number in range(7):
            alone.append((await complete(port, prompt(length, 200 + number), 1))[0])
            long = asyncio.ensure_future(complete(port, prompt(4000, 300 + length + number), 1))
            await asyncio.sleep(0.3 + 0.1 * number)
            beside.append((await complete(port, prompt(length, 400 + number), 1))[0])
            assert not long.done(), "the long prompt was over too soon"
            long_ones.append((await long)[0])
        ratio = statistics.median(beside) / statistics.median(alone)
        print(
            f"time to first token of {length} tokens: {milliseconds(alone)} alone, {milliseconds(beside)} beside a "
            f"4000-token prompt: {ratio:.2f} times; the long prompt's own: {milliseconds(long_ones)}"
        )


async def shared_prefix(port: int) -> None:
    """Time to the first token of the second of two prompts that share 1,000 tokens, by that of the first."""
    firsts, seconds = [], []
    for number in range(5):
        shared = prompt(1000, 500 + number)
        firsts.append((await complete(port, [*shared, *prompt(10, 1)], 1))[0])
        seconds.append((await complete(port, [*shared, *prompt(10, 2)], 1))[0])
    ratio = statistics.median(second / first for first, second in zip(firsts, seconds, strict=True))
    print(
        f"a shared prefix of 1000 tokens: {milliseconds(firsts)} first, {milliseconds(seconds)} second: {ratio:.3f}"
    )


async def rate_of_16(port: int, tokens: int, seed: int) -> float:
    """Tokens/s of 16 streams at once."""
    started = time.perf_counter()
    answers = await asyncio.gather(*(complete(port, prompt(16, seed + each), tokens) for each in range(16)))
    return sum(made for *_, made in answers) / (time.perf_counter() - started)


async def beside_peer(port: int, peer_port: int, tokens: int = 64, rounds: int = 3) -> None:
    """Our server and llama-cpp-python's in turns. The latter's vocabulary is made up: its prompt is a first token."""

    def ask_peer() -> int:
        body = json.dumps({"prompt": "", "max_tokens": tokens, "temperature": 0}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{peer_port}/v1/completions", body, headers)
        with urllib.request.urlopen(request, timeout=600) as response:
            return int(json.load(response)["usage"]["completion_tokens"])

    ratios = []
    await asyncio.to_thread(ask_peer)
    for number in range(rounds):
        ours = await rate_of_16(port, tokens, 50 * number)
        started = time.perf_counter()
        with ThreadPoolExecutor(16) as threads:
            made = await asyncio.gather(
                *(asyncio.get_running_loop().run_in_executor(threads, ask_peer) for _ in range(16))
            )
        peer = sum(made) / (time.perf_counter() - started)
        ratios.append(ours / peer)
        print(f"16 requests at once: {ours:.1f} tokens/s, llama-cpp-python's server: {peer:.1f}: {ratios[-1]:.2f}")
    print(f"  median {statistics.median(ratios):.2f}")


def start_peer(arguments: argparse.Namespace, folder: str) -> tuple[subprocess.Popen[str], int]:
    """llama-cpp-python's server on a random model, and its port."""
    python, threads = arguments.peer, str(arguments.threads)
    file = Path(folder) / "model.gguf"
    write = f"from gguf_model import *; write_gguf({arguments.config!r}, {arguments.dtype!r}, Path({str(file)!r}))"
    subprocess.run([python, "-c", write], check=True, cwd=Path(__file__).parent)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--model", str(file), "--port", str(port), "--n_ctx", "4096"]
    command += ["--n_threads", threads, "--n_threads_batch", threads, "--interrupt_requests", "False"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=10).close()
            return process, port
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.2)
    process.kill()
    raise SystemExit("llama-cpp-python's server did not start")


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


def serve_random(config: str, dtype: str, threads: int, port: int, chunk: int | None) -> None:
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

    options = ServerOptions(port=port) if chunk is None else ServerOptions(port=port, chunked_prefill_size=chunk)
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
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="default: 2")
    parser.add_argument("--soak", type=float, default=300, metavar="SECONDS", help="of the soak (default: 300)")
    parser.add_argument("--chunk", type=whole_number(1), default=None,
                        help="--chunked_prefill_size (default: the server's)")  # fmt: skip
    parser.add_argument("--short", type=whole_number(1), nargs="+", default=[16, 64], help="tokens of short prompts")
    parser.add_argument("--only", nargs="+", choices=WITH_PEER, default=PARTS, metavar="PART", help="see above")
    parser.add_argument("--peer", metavar="PYTHON", help="for the part peer")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_random(arguments.config, arguments.dtype, arguments.threads, 0, arguments.chunk)
        return
    if "peer" in arguments.only and arguments.peer is None:
        parser.error("the part peer needs --peer PYTHON")
    shared = ["--config", arguments.config, "--dtype", arguments.dtype, "-t", str(arguments.threads)]
    if set(arguments.only) - {"soak"}:
        chunk = [] if arguments.chunk is None else ["--chunk", str(arguments.chunk)]
        process, port = start(sys.executable, __file__, "--serve", *chunk, *shared)
        try:
            asyncio.run(complete(port, prompt(40, 0), 8))
            if "throughput" in arguments.only:
                bench = [sys.executable, "-m", "ftllm_nb", "bench", "--random", *shared]
                asyncio.run(throughput(port, [*bench, "--batch", "16", "-p", "0", "-n", "128", "-r", "3"]))
            if "first_token" in arguments.only:
                asyncio.run(first_token(port, arguments.short))
            if "prefix" in arguments.only:
                asyncio.run(shared_prefix(port))
            if "peer" in arguments.only:
                with tempfile.TemporaryDirectory() as folder:
                    peer, peer_port = start_peer(arguments, folder)
                    try:
                        asyncio.run(beside_peer(port, peer_port))
                    finally:
                        peer.terminate()
                        peer.wait()
        finally:
            process.terminate()
            process.wait()
    if "soak" in arguments.only:
        process, port = start(
            sys.executable, "-m", "ftllm_nb.server", "demo", "--port", "0", "-t", str(arguments.threads)
        )
        try:
            asyncio.run(soak(port, process.pid, arguments.soak))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    with one_sentence():
        main()

"""Print how fast `ftllm-nb quantize` works, in MB/s of the model's weights, and the memory that it takes.

Usage: python bench/quantize.py [--config CONFIG.json] [--dtype int4g128 ...] [--method rtn mse] [-t 2] [-r 3]

The model is random, of the shape of a config.json, stored as bfloat16; it is read from the page cache, and the result
is written beside it (--folder; by default the system's place for temporary files). Each run is a process of its own
whose kernels were compiled before; the time is that from the first tensor to the folder's renaming, peak memory that of
the process. Copied tensors, as embeddings are, count as input.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from one_sentence import one_sentence

from ftllm_nb.benchmark.cpu_name import cpu_name
from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.quantization.shards import lay_out
from ftllm_nb.quantization.tensors import OutputTensor

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-1.5b.json"
SPARE_BYTES = 500_000_000
"""What a run may take beside its largest tensor as float32."""


def main() -> None:
    """Write a random model, quantize it again and again, print a row for each type and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(CONFIG), help="a config.json (default: Qwen2.5-1.5B's)")
    parser.add_argument("--dtype", nargs="+", default=["int4g128", "int8"], help="types (default: int4g128 int8)")
    parser.add_argument("--method", nargs="+", default=["rtn", "mse"], help="methods (default: rtn mse)")
    parser.add_argument("--asymmetric", action="store_true", help="with zero points")
    parser.add_argument("--folder", help="where models lie for the time being (default: the system's place)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    parser.add_argument("-r", "--repetitions", type=whole_number(1), default=3, help="runs of each kind (default: 3)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(quantize_once(arguments, *map(Path, arguments.one))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        model = Path(folder) / "model"
        largest = write_random_model(model, arguments.config)
        print(f"{cpu_name()}, {arguments.threads} threads, {datetime.date.today()}")
        name = Path(arguments.config).stem
        print(f"{name}, bfloat16, random; largest tensor {largest * 4 / 1e6:,.0f} MB as float32\n")
        print("| type     | method |  MB/s, median | fastest | peak memory, MB | at most |")
        print("|----------|--------|--------------:|--------:|----------------:|--------:|")
        for dtype in arguments.dtype:
            for method in arguments.method:
                show(arguments, model, dtype, method, largest * 4 + SPARE_BYTES)


def show(arguments: argparse.Namespace, model: Path, dtype: str, method: str, most: int) -> None:
    """Run some processes in turn and print a row."""
    command = [
        sys.executable, __file__, "--dtype", dtype, "--method", method, "-t", str(arguments.threads),
        *(["--asymmetric"] if arguments.asymmetric else []), "--one", str(model),
    ]  # fmt: skip
    rates, peaks = [], []
    for _ in range(arguments.repetitions):
        out = model.with_name("out")
        result = json.loads(subprocess.run([*command, str(out)], check=True, capture_output=True, text=True).stdout)
        shutil.rmtree(out)
        rates.append(result["bytes"] / result["seconds"] / 1e6)
        peaks.append(result["peak_bytes"])
    speeds = f"{statistics.median(rates):13,.0f} | {max(rates):7,.0f}"
    print(f"| {dtype:8} | {method:6} | {speeds} | {max(peaks) / 1e6:15,.0f} | {most / 1e6:7,.0f} |", flush=True)


def write_random_model(model: Path, config: str) -> int:
    """Write the folder, in one file; how many numbers the largest tensor holds."""
    weights = open_weights(Settings(random=True, random_config=config))
    model.mkdir()
    shutil.copyfile(config, model / "config.json")
    tensors = [[OutputTensor.of(info.name, "BF16", info.shape)] for info in weights.tensors.values()]
    (shard,) = lay_out(tensors, 10**15).shards
    with open(model / shard.name, "wb") as file:
        file.write(shard.header)
        for name, start in sorted(shard.starts.items(), key=lambda item: item[1]):
            file.seek(start)
            file.write(weights.read(name).data)
    return max(math.prod(info.shape) for info in weights.tensors.values())


def quantize_once(arguments: argparse.Namespace, model: Path, out: Path) -> dict[str, Any]:
    """In this process: seconds, bytes of input, peak memory."""
    from ftllm_nb.checkpoint import open_checkpoint
    from ftllm_nb.kernels.compile import prepare
    from ftllm_nb.quantization.formats import output_format
    from ftllm_nb.quantization.options import QuantizeOptions

    (dtype,), (method,) = arguments.dtype, arguments.method
    with open_checkpoint(model) as checkpoint:
        options = QuantizeOptions(dtype, method, not arguments.asymmetric)
        job = output_format(options.format).job(checkpoint, options)
        prepare(job.kernels().values())
        started = time.perf_counter()
        job.write(out, arguments.threads, resume=False, replace=False)
        return {"seconds": time.perf_counter() - started, "bytes": job.stored_bytes, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """The most memory that this process had at once (Linux)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    with one_sentence():
        main()

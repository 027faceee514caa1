"""Print what a decode step would take on more cores than there are here: a simulation, no measurement.

Usage: python bench/simulate_scaling.py [--config CONFIG.json …] [--dtype int4g32] [-t 1 4 8 16 64] [--memory 300]

Three layers of each model are laid out without weights, and walked by one worker: how many chunks each operation of a
step hands out, and the seconds that its instructions take. Workers of the simulation take chunks in turn. A chunk
takes as long as its instructions, or as its weights take to be read: at this machine's bandwidth of one core, or a
worker's share of `--memory` GB/s. An operation ends with a meeting of the workers that took part, whose cost grows by
the same for each of them: what operations of two brief chunks take here longer with two workers than half of what they
take with one.

"all": every worker takes part in every operation. "worth": as many as the engine lets join (kernels/meeting.py);
"waiting": of all workers' time then, what they spend without a chunk. "best": as many for each operation as are best by
the simulation.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np
from one_sentence import one_sentence
from walk import timed_walk

from ftllm_nb.benchmark.limits import measure_limits
from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.threads import ThreadPool
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.meeting import workers_worth
from ftllm_nb.kernels.memory import spin_pause
from ftllm_nb.kernels.step import ROW_FIELDS, STEP_FIELDS, argument, take_chunk
from ftllm_nb.loading import describe

CONFIGS = [
    str(Path(__file__).parent / "configs" / f"{name}.json")
    for name in ("qwen2.5-0.5b", "qwen2.5-1.5b", "qwen3-4b", "llama-3.1-70b")
]
STEPS = 9
"""Walks whose median is an operation's time."""
BRIEF_OPERATIONS, BRIEF_SPINS, WALKS = 200, 50, 300
READ_BYTES = 200_000_000


@kernel()
def brief(row, step, worker):
    """So many chunks, of so many turns of a loop."""
    while take_chunk(worker, argument(row, 0)) >= 0:
        for _ in range(argument(row, 1)):
            spin_pause()


class Operation(NamedTuple):
    """An operation of a step: seconds of its instructions, bytes of weights that it reads, chunks, and how many bytes
    the engine takes a chunk for."""

    seconds: float
    bytes: int
    chunks: int
    chunk_bytes: int


class Machine(NamedTuple):
    """Bytes a second of one core and of all, seconds of a meeting of one worker and what each other one adds."""

    core_bytes: float
    all_bytes: float
    meeting: float
    each: float

    def meeting_of(self, workers: int) -> float:
        """Seconds."""
        return self.meeting + (workers - 1) * self.each


def main() -> None:
    """A table a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=CONFIGS, help="config.json files (default: 0.5B to 70B)")
    parser.add_argument("--dtype", default="int4g32", help="weight format (default: int4g32)")
    parser.add_argument("-t", "--threads", type=whole_number(1), nargs="+", default=[1, 4, 8, 16, 64],
                        help="default: 1 4 8 16 64")  # fmt: skip
    parser.add_argument("--memory", type=whole_number(1), default=300,
                        help="GB/s that all cores together can read (default: 300)")  # fmt: skip
    arguments = parser.parse_args()
    for config in arguments.config:  # what is wrong with one is said before anything is measured
        open_weights(Settings(random_config=config, random=True)).close()
    machine = measured_machine(arguments.memory * 1e9)
    print(f"a core reads {machine.core_bytes / 1e9:.1f} GB/s, all of them {arguments.memory}; a meeting takes "
          f"{machine.meeting * 1e9:.0f} ns, and {machine.each * 1e9:.0f} for each further worker\n")  # fmt: skip
    print("| model | workers | all, ms | worth, ms | × | waiting | best, ms |")
    print("| :---- | ------: | ------: | --------: | -: | ------: | -------: |")
    for config in arguments.config:
        operations = operations_of(config, arguments.dtype)
        alone = sum(seconds(each, 1, machine) for each in operations)
        for workers in arguments.threads:
            together = sum(seconds(each, workers, machine) for each in operations)
            joining = [workers_worth(each.chunks, each.chunk_bytes, workers) for each in operations]
            worth = sum(seconds(each, count, machine) for each, count in zip(operations, joining, strict=True))
            busy = sum(
                each.chunks * chunk_seconds(each, count, machine)
                for each, count in zip(operations, joining, strict=True)
            )
            best = sum(min(seconds(each, fewer, machine) for fewer in range(1, workers + 1)) for each in operations)
            print(
                f"| {Path(config).stem}, {len(operations)} operations | {workers} | {1e3 * together:.2f} "
                f"| {1e3 * worth:.2f} | {alone / worth:.1f} | {1 - busy / (workers * worth):.0%} | {1e3 * best:.2f} |",
                flush=True,
            )


def chunk_seconds(operation: Operation, workers: int, machine: Machine) -> float:
    """What a chunk takes when so many workers are at it."""
    speed = min(machine.core_bytes, machine.all_bytes / min(workers, operation.chunks))
    return max(operation.seconds / operation.chunks, operation.bytes / operation.chunks / speed)


def seconds(operation: Operation, workers: int, machine: Machine) -> float:
    """What an operation takes with so many workers."""
    turns = -(-operation.chunks // workers)
    return turns * chunk_seconds(operation, workers, machine) + machine.meeting_of(workers)


def operations_of(config: str, dtype: str) -> list[Operation]:
    """All operations of a token of decode: those of three layers, of which the middle one stands for all but two."""
    two, three = (measured_operations(config, dtype, layers) for layers in (2, 3))
    with open_weights(Settings(random_config=config, random=True)) as checkpoint:
        layers = checkpoint.config["num_hidden_layers"]
    period = len(three) - len(two)
    return three[:period] + (layers - 2) * three[period : 2 * period] + three[2 * period :]


def measured_operations(config: str, dtype: str, layers: int) -> list[Operation]:
    """Those of a model of so many layers."""
    types = WeightTypes(dtype)
    settings = Settings(random_config=config, random=True, layers=layers, options=EngineOptions(dtype=dtype))
    with open_weights(settings) as checkpoint:
        graph = describe(checkpoint)
        executor = CompiledExecutor(graph, checkpoint, weight_types=types, with_weights=False)
    format_of = types.formats(graph)
    sequence = executor.cache.new_sequence()
    step = [SequenceStep(sequence, np.zeros(1, np.int32))]
    try:
        profiles = [executor.profile(step) for _ in range(1 + STEPS)][1:]
    finally:
        executor.close()
    operations = []
    for at, (label, _, chunks, chunk_bytes) in enumerate(profiles[0]):
        size = 0
        if label.is_product:
            for weight in label.weights:
                count, rows, columns = weight.type.matrices
                size += int(label.share * count * format_of(weight).packed_bytes(rows, columns))
        taken = statistics.median(profile[at].seconds for profile in profiles)
        operations.append(Operation(taken, size, max(1, chunks), chunk_bytes))
    return operations


def measured_machine(all_bytes: float) -> Machine:
    """This machine's cores, with so many bytes a second for all of them. Of many meetings the fastest counts: others
    were held up."""
    program = np.zeros((BRIEF_OPERATIONS, ROW_FIELDS), np.int64)
    step = np.zeros(STEP_FIELDS, np.int64)

    def taken(workers: int, chunks: int, spins: int = BRIEF_SPINS) -> float:
        program[:, :3] = brief.address, chunks, spins
        pool = ThreadPool(workers)
        try:
            return min(timed_walk(pool, program, step) for _ in range(WALKS)) / BRIEF_OPERATIONS / 1e6
        finally:
            pool.close()

    each = max(0.0, taken(2, 2) - taken(1, 1))
    read = measure_limits(1, READ_BYTES, seconds=0.5, repetitions=1).read_gb_per_s * 1e9
    return Machine(read, all_bytes, taken(1, 1, 0), each)


if __name__ == "__main__":
    with one_sentence():
        main()

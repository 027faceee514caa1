"""Make a copy of a model whose weights lie on no grid, from one whose weights a quantized file has left on one.

Usage: python bench/off_grid.py MODEL OUT [--seed 0]

The only real weights that package indexes serve come from GGUF files of 4 and 6 bits. Each number there is one of 16
or 64 that its block of a row can hold, so that a type with the same blocks finds the very grid again and looks far
better than it is. Here each number of a matrix becomes another one of its own cell: uniform between the halves of the
distances to its neighbours on the grid. That is what rounding took away: a fine density is nearly even within a cell,
so that numbers which were rounded to nearest lie evenly about what they became. So a matrix has the distribution of
the one that was rounded, and rounding it again to 4 bits costs what it costs for weights of full precision. The model
moves about as far as its file had moved it, which its perplexity shows (`ftllm-nb perplexity --also`), and is then the
base of every comparison.

The step of the grid is the least distance between different numbers of 16 neighbours in a row, the smallest block that
has one step in these files. Vectors, which such files keep as floats, stay as they are. OUT holds float32.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from one_sentence import one_sentence

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.quantization.shards import lay_out
from ftllm_nb.quantization.tensors import OutputTensor

BLOCK = 16
"""Neighbours in a row that surely have one step."""
ROWS_AT_ONCE = 4096
LEAST_STEP = 1e-4
"""Of a block's largest magnitude: nearer numbers are one number that two additions have rounded differently."""


def main() -> None:
    """Copy the folder with other weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder in Hugging Face form")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the random numbers (default: 0)")
    arguments = parser.parse_args()
    make(arguments.model, arguments.out, arguments.seed)


def make(model: Path, out: Path, seed: int) -> None:
    """The copy; the folder appears when it is whole."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(model, partial, ignore=shutil.ignore_patterns("*.safetensors*"))
    random = np.random.default_rng(seed)
    with open_checkpoint(model) as checkpoint:
        infos = [OutputTensor.of(name, "F32", info.shape) for name, info in checkpoint.tensors.items()]
        (shard,) = lay_out([infos], 10**15).shards
        with open(partial / shard.name, "wb") as file:
            file.write(shard.header)
            for name in checkpoint.tensors:
                tensor = read_float32(checkpoint, name)
                file.seek(shard.starts[name])
                file.write((tensor if tensor.ndim < 2 else moved(tensor, random)).tobytes())
                checkpoint.release(name)
    partial.rename(out)


def moved(matrix: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The matrix [..., columns] with each number elsewhere in its cell; columns must be a multiple of `BLOCK`."""
    blocks = matrix.reshape(-1, BLOCK)
    made = np.empty_like(blocks)
    for first in range(0, len(blocks), ROWS_AT_ONCE):
        some = blocks[first : first + ROWS_AT_ONCE]
        cells = random.random(some.shape, np.float32) - np.float32(0.5)
        made[first : first + ROWS_AT_ONCE] = some + cells * steps(some)
    return made.reshape(matrix.shape)


def steps(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """The step of each block's grid, [blocks, 1]; 0 where all its numbers are one."""
    distances = np.diff(np.sort(blocks, axis=1), axis=1)
    least = np.float32(LEAST_STEP) * np.abs(blocks).max(1, keepdims=True)
    found = np.where(distances > least, distances, np.float32(np.inf)).min(1, keepdims=True)
    return np.where(np.isfinite(found), found, np.float32(0))


if __name__ == "__main__":
    with one_sentence():
        main()

"""Write golden.npz, what the `gguf` package makes of blocks of each type, and the grids that some types need.

    python -m tests.checkpoint.ggml.make_golden        (needs gguf: .venv-oracle has it)

For each type the archive holds uint8 [rows, bytes] under "<type>.raw" and float32 [rows, columns] under "<type>".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from ftllm_nb.checkpoint import ggml

HERE = Path(__file__).parent
GRIDS = Path(ggml.__file__).parent / "grids.npz"
ROWS, BLOCKS = 2, 2
CLASSES = ("IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")


def known_types() -> list[str]:
    """The types that the package dequantizes."""
    return ["F32", "F16", *(type.name for type in quants._type_traits)]


def random_blocks(name: str, rows: int, blocks: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of a type that stand for finite numbers, and these numbers."""
    type = GGMLQuantizationType[name]
    nbytes = GGML_QUANT_SIZES[type][1]
    random = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    while len(found) < rows * blocks:
        raw = random.integers(0, 256, nbytes, np.uint8)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(quants.dequantize(raw, type)).all():
                found.append(raw)
    raw = np.stack(found).reshape(rows, -1)
    return raw, quants.dequantize(raw, type)


def grids() -> dict[str, np.ndarray]:
    """The package's grids."""
    found = {}
    for name in CLASSES:
        kind = getattr(quants, name)
        kind.init_grid()
        found[name] = kind.grid.reshape(kind.grid_shape).astype(np.int8)
    return found


def main() -> None:
    """Write both files."""
    np.savez_compressed(GRIDS, **grids())
    arrays: dict[str, np.ndarray] = {}
    for seed, name in enumerate(known_types()):
        arrays[f"{name}.raw"], arrays[name] = random_blocks(name, ROWS, BLOCKS, seed)
    np.savez_compressed(HERE / "golden.npz", **arrays)


if __name__ == "__main__":
    main()

"""Write compressed_tensors/: small models as the compressed-tensors package quantizes and writes them, and its answers.

    python -m tests.golden.make_compressed        (needs what .venv-oracle has: torch, transformers, compressed-tensors)

Each folder holds a model's config.json and model.safetensors, and expected.npz: `logits`, float32 [tokens, vocab_size],
transformers' in float32 after each of `tokens`; `names` of the quantized weights and `checksums`, the CRC-32 of each as
the package dequantizes it in float32.
"""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import torch

from tests.golden.compressed_folders import FOLDER
from tests.oracle.compressed_models import (
    INT8_TOKENS,
    TOKENS,
    decompressed,
    float_logits,
    group,
    weights,
    write_compressed,
)

CASES = {
    "int4_groups_zero_points": ([group(weights(4, 32, False))], torch.bfloat16),
    "mixed_rows": (
        [
            group(weights(8), "re:.*([qkv]|gate)_proj", input_activations=INT8_TOKENS),
            group(weights(4, 0, False), "Linear"),
        ],
        torch.float32,
    ),
}


def main() -> None:
    for name, (groups, dtype) in CASES.items():
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        write_compressed(folder, groups, dtype)
        (folder / "generation_config.json").unlink()
        matrices = decompressed(folder, torch.float32)
        checksums = [zlib.crc32(matrix.numpy().tobytes()) for matrix in matrices.values()]
        np.savez_compressed(
            folder / "expected.npz",
            tokens=TOKENS,
            logits=float_logits(folder),
            names=np.array(list(matrices)),
            checksums=np.array(checksums, np.uint32),
        )
        print(f"{name:24} {sum(path.stat().st_size for path in Path(folder).iterdir()):,} bytes")


if __name__ == "__main__":
    main()

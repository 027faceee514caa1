"""Write foreign.npz: small matrices as other tools' packages store them, and what those packages make of them.

    python -m tests.golden.make_foreign --auto_gptq DIR --autoawq DIR

needs torch, transformers, bitsandbytes and mlx, and the sources of auto-gptq 0.7.1 and autoawq 0.2.9, of which single
files are loaded, since the packages do not import with newer versions of what they need. A case is a folder's
`quantization_config`, the tensors of the module "m" (their types as safetensors names them), and the float32 matrix
[out, in] that the package's own code computes of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

OUT = Path(__file__).with_name("foreign.npz")
_NAMES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32", torch.int64: "I64",
    torch.int8: "I8", torch.uint8: "U8", torch.uint32: "U32", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip


class Case(NamedTuple):
    """What is stored of a matrix, and what it stands for."""

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    expected: torch.Tensor


def _module(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _gptq(folder: Path) -> Iterator[tuple[str, Case]]:
    """Random numbers in AutoGPTQ's layer, which is asked for the products of a unit matrix."""
    layers = _module(folder / "auto_gptq/nn_modules/qlinear/qlinear_cuda.py")
    generator = torch.Generator().manual_seed(1)
    for bits, group, ordered, symmetric in ((4, 32, False, True), (4, 32, True, False), (8, 64, False, False),
                                            (8, 32, True, True), (4, -1, False, False)):  # fmt: skip
        rows, columns = 64, 128
        layer = layers.QuantLinear(bits, group, columns, rows, False, weight_dtype=torch.float32)
        words = torch.randint(0, 2**32, layer.qweight.shape, generator=generator)
        layer.qweight.copy_((words - 2**31).to(torch.int32))
        half = 2 ** (bits - 1)
        low, high = (half - 1, half) if symmetric else (0, 2**bits - 1)  # of 2**bits - 1 the package has others
        zeros = torch.randint(low, high, (layer.scales.shape[0], rows), generator=generator).numpy()
        packed = np.zeros((len(zeros), rows * bits // 32), np.uint32)
        for at in range(rows):
            packed[:, at * bits // 32] |= zeros[:, at].astype(np.uint32) << np.uint32(at * bits % 32)
        layer.qzeros.copy_(torch.from_numpy(packed.view(np.int32)))
        scales = torch.rand(layer.scales.shape, generator=generator).half() / 64
        layer.scales.copy_(scales.float())
        if ordered:
            layer.g_idx.copy_(layer.g_idx[torch.randperm(columns, generator=generator)])
        expected = layer(torch.eye(columns)).T.contiguous()
        tensors = {"m.qweight": layer.qweight, "m.qzeros": layer.qzeros, "m.scales": scales, "m.g_idx": layer.g_idx}
        config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": ordered, "sym": symmetric}
        name = f"gptq {bits} bits, groups of {group}{', act-order' * ordered}{', symmetric' * symmetric}"
        yield name, Case(config, {key: value.clone() for key, value in tensors.items()}, expected)


def _awq(folder: Path) -> Iterator[tuple[str, Case]]:
    """Random words, which AutoAWQ's own function dequantizes."""
    dequantize = _module(folder / "awq/utils/packing_utils.py").dequantize_gemm
    generator = torch.Generator().manual_seed(2)
    for group in (32, 64):
        words = [
            (torch.randint(0, 2**32, shape, generator=generator) - 2**31).to(torch.int32)
            for shape in ((128, 8), (128 // group, 8))
        ]
        scales = torch.rand((128 // group, 64), generator=generator).half() / 64
        expected = dequantize(words[0], words[1], scales.float(), 4, group).T.contiguous()
        config = {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True}
        tensors = {"m.qweight": words[0], "m.qzeros": words[1], "m.scales": scales}
        yield f"awq groups of {group}", Case(config, tensors, expected)


def _as_numpy(tensor: torch.Tensor) -> Any:
    """Types that NumPy lacks come as their bits."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy()
    if tensor.dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        return tensor.view(torch.uint8).numpy()
    return tensor.numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    makers: dict[str, Callable[..., Iterator[tuple[str, Case]]]] = {"auto_gptq": _gptq, "autoawq": _awq}
    for name in makers:
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = vars(parser.parse_args())
    arrays = {}
    for maker, make in makers.items():
        for name, case in make(given[maker]):
            types = {key: _NAMES[value.dtype] for key, value in case.tensors.items()}
            arrays[f"{name}|config"] = np.array(json.dumps({"config": case.config, "types": types}))
            arrays[f"{name}|expected"] = case.expected.float().numpy()
            arrays |= {f"{name}|{key}": _as_numpy(value) for key, value in case.tensors.items()}
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""Write foreign.npz: small matrices as other tools' packages store them, and what those packages make of them.

    python -m tests.golden.make_foreign --auto_gptq DIR --autoawq DIR --hqq DIR

needs torch, transformers, compressed-tensors, bitsandbytes and mlx (mlx-cpu), and the sources of auto-gptq 0.7.1,
autoawq 0.2.9 and hqq 0.2.8, of the first two of which single files are loaded, since those packages do not import with
newer versions of what they need. A case is a folder's
`quantization_config`, the tensors of the module "m" (their types as safetensors names them), and the float32 matrix
[out, in] that the package's own code computes of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

OUT = Path(__file__).with_name("foreign.npz")
_NAMES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32", torch.int64: "I64",
    torch.int8: "I8", torch.int16: "I16", torch.uint8: "U8", torch.uint32: "U32", torch.float8_e4m3fn: "F8_E4M3",
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
                                            (8, 32, True, True), (4, -1, False, False), (2, 32, False, True),
                                            (3, 32, True, False), (3, -1, False, True)):  # fmt: skip
        rows, columns = 64, 128
        layer = layers.QuantLinear(bits, group, columns, rows, False, weight_dtype=torch.float32)
        words = torch.randint(0, 2**32, layer.qweight.shape, generator=generator)
        layer.qweight.copy_((words - 2**31).to(torch.int32))
        half = 2 ** (bits - 1)
        low, high = (half - 1, half) if symmetric else (0, 2**bits - 1)  # of 2**bits - 1 the package has others
        zeros = torch.randint(low, high, (layer.scales.shape[0], rows), generator=generator).numpy()
        layer.qzeros.copy_(torch.from_numpy(_words(zeros, bits)))
        scales = torch.rand(layer.scales.shape, generator=generator).half() / 64
        layer.scales.copy_(scales.float())
        if ordered:
            layer.g_idx.copy_(layer.g_idx[torch.randperm(columns, generator=generator)])
        expected = layer(torch.eye(columns)).T.contiguous()
        tensors = {"m.qweight": layer.qweight, "m.qzeros": layer.qzeros, "m.scales": scales, "m.g_idx": layer.g_idx}
        config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": ordered, "sym": symmetric}
        name = f"gptq {bits} bits, groups of {group}{', act-order' * ordered}{', symmetric' * symmetric}"
        yield name, Case(config, {key: value.clone() for key, value in tensors.items()}, expected)


def _words(numbers: Any, bits: int) -> Any:
    """Rows of numbers as int32, the first in the lowest bits, where a number may go on in the next word."""
    packed = np.zeros((len(numbers), numbers.shape[1] * bits // 32 + 1), np.uint64)
    for at in range(numbers.shape[1]):
        moved = numbers[:, at].astype(np.uint64) << np.uint64(at * bits % 32)
        packed[:, at * bits // 32] |= moved & np.uint64(0xFFFFFFFF)
        packed[:, at * bits // 32 + 1] |= moved >> np.uint64(32)
    return np.ascontiguousarray(packed[:, :-1].astype(np.uint32)).view(np.int32)


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
    yield from _awq_rows(folder)


def _awq_rows(folder: Path) -> Iterator[tuple[str, Case]]:
    """What AutoAWQ's layers of its other versions write of random numbers, and what those are."""
    sys.modules["awq.utils.module"] = types.ModuleType("awq.utils.module")
    sys.modules["awq.utils.module"].try_import = lambda name: (None, "")  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(7)
    rows, columns = 32, 192
    for version, layer, group in (("gemv", "WQLinear_GEMV", 32), ("gemv", "WQLinear_GEMV", 64),
                                  ("gemv_fast", "WQLinear_GEMVFast", 64)):  # fmt: skip
        made = getattr(_module(folder / f"awq/modules/linear/{version}.py"), layer)
        numbers, zeros = (
            torch.randint(0, 16, shape, generator=generator) for shape in ((rows, columns), (rows, columns // group))
        )
        scales = (torch.rand(zeros.shape, generator=generator) / 64 + 1 / 256).half()
        linear = torch.nn.Linear(columns, rows, bias=False)
        spread, begins = (each.float().repeat_interleave(group, 1) for each in (scales, zeros))
        linear.weight.data = (numbers - begins) * spread
        found = made.from_linear(linear, 4, group, scales=scales, zeros=zeros)
        expected = linear.weight.data
        if version == "gemv_fast":
            added = found.qzeros[: zeros.shape[1]].T.float().repeat_interleave(group, 1)
            expected = numbers * spread + added
        config = {"quant_method": "awq", "bits": 4, "group_size": group, "version": version, "zero_point": True}
        tensors = {"m.qweight": found.qweight, "m.qzeros": found.qzeros, "m.scales": found.scales}
        yield f"awq {version}, groups of {group}", Case(config, tensors, expected)


def _hqq(folder: Path) -> Iterator[tuple[str, Case]]:
    """What HQQ's layer writes for safetensors, and dequantizes in float32."""
    sys.path.insert(0, str(folder))
    from hqq.core.quantize import HQQLinear, hqq_base_quant_config  # type: ignore[import-not-found]

    for bits, group, axis, columns in ((4, 64, 1, 128), (8, 32, 1, 96), (3, 32, 1, 96), (2, 16, 1, 64), (1, 32, 1, 64),
                                       (4, 64, 0, 128), (3, 64, 0, 96), (4, None, 1, 96)):  # fmt: skip
        torch.manual_seed(8)
        linear = torch.nn.Linear(columns, 48, bias=False)
        config = hqq_base_quant_config(nbits=bits, group_size=group, axis=axis)
        layer = HQQLinear(linear, config, compute_dtype=torch.float16, device="cpu")
        tensors = {f"m.{key}": value for key, value in layer.state_dict().items() if isinstance(value, torch.Tensor)}
        wide = {**layer.meta, "compute_dtype": torch.float32, **{k: layer.meta[k].float() for k in ("scale", "zero")}}
        from hqq.core.quantize import Quantizer

        expected = Quantizer.dequantize(layer.W_q, wide)
        section = {"quant_method": "hqq", "quant_config": config, "skip_modules": ["lm_head"]}
        yield f"hqq {bits} bits, groups of {group}, axis {axis}", Case(section, tensors, expected)


def _random_fp8(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Every code that is a finite number, subnormal ones among them."""
    codes = torch.arange(256, dtype=torch.uint8)
    codes = codes[torch.isfinite(codes.view(dtype).float())]
    return codes[torch.randint(0, len(codes), shape, generator=generator)].view(dtype)


def _fp8() -> Iterator[tuple[str, Case]]:
    """float8 · scale in float32: DeepSeek's definition."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = 48, 96
    for called, dtype, ending, shape, block in (
        ("blocks of 32 × 64", torch.float8_e4m3fn, "weight_scale_inv", (2, 2), [32, 64]),
        ("a scale a row", torch.float8_e4m3fn, "weight_scale", (rows, 1), None),
        ("one scale, e5m2", torch.float8_e5m2, "weight_scale", (), None),
    ):
        weight = _random_fp8((rows, columns), dtype, generator)
        scale = torch.rand(shape, generator=generator) / 256
        spread = scale
        if block is not None:
            spread = scale.repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :columns]
        config = {"quant_method": "fp8", **({"weight_block_size": block} if block else {})}
        yield f"fp8 {called}", Case(config, {"m.weight": weight, f"m.{ending}": scale}, weight.float() * spread)


def _four_bits() -> Iterator[tuple[str, Case]]:
    """NVFP4 and MXFP4 as compressed-tensors' own functions unpack them; gpt-oss as transformers does."""
    from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    generator = torch.Generator().manual_seed(4)
    rows, columns = 48, 96
    packed = torch.randint(0, 256, (rows, columns // 2), generator=generator).to(torch.uint8)
    values = unpack_fp4_from_uint8(packed, rows, columns, dtype=torch.float32)
    group = {"weights": {"num_bits": 4, "type": "float"}, "targets": ["Linear"]}
    for called, tensors, scales, size in (
        ("nvfp4 of compressed-tensors", {"weight_global_scale": torch.tensor([1234.5])}, lambda s, t: s / t, 16),
        ("nvfp4 of modelopt", {"weight_scale_2": torch.tensor(0.0012)}, lambda s, t: s * t, 16),
        ("mxfp4 of compressed-tensors", {}, None, 32),
    ):
        ours = called.endswith("tensors")
        config: dict[str, Any] = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
        if ours:
            layout = "mxfp4-pack-quantized" if size == 32 else "nvfp4-pack-quantized"
            config = {"quant_method": "compressed-tensors", "format": layout, "config_groups": {"g": group}}
        if scales is None:
            scale = torch.randint(110, 130, (rows, columns // size), generator=generator).to(torch.uint8)
            each = torch.exp2(scale.float() - 127)
        else:
            scale = _random_fp8((rows, columns // size), torch.float8_e4m3fn, generator)
            each = scales(scale.float(), *tensors.values())
        found = {f"m.weight{'_packed' if ours else ''}": packed, "m.weight_scale": scale}
        found |= {f"m.{name}": tensor for name, tensor in tensors.items()}
        yield called, Case(config, found, values * each.repeat_interleave(size, 1))
    blocks = torch.randint(0, 256, (3, 32, 2, 16), generator=generator).to(torch.uint8)
    exponents = torch.randint(110, 130, (3, 32, 2), generator=generator).to(torch.uint8)
    expected = convert_moe_packed_tensors(blocks, exponents, dtype=torch.float32).transpose(1, 2).contiguous()
    yield "mxfp4 of gpt-oss", Case({"quant_method": "mxfp4"}, {"m_blocks": blocks, "m_scales": exponents}, expected)


def _bitsandbytes() -> Iterator[tuple[str, Case]]:
    """What the package writes of random floats, and makes of that."""
    import bitsandbytes.functional as functional

    generator = torch.Generator().manual_seed(5)
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    for code, nested, columns in (("nf4", True, 128), ("nf4", False, 96), ("fp4", True, 64)):
        weight = torch.randn((80, columns), generator=generator) / 32
        codes, state = functional.quantize_4bit(weight, blocksize=64, compress_statistics=nested, quant_type=code)
        parts = {f"m.weight.{name}": tensor for name, tensor in state.as_dict(packed=True).items()}
        expected = functional.dequantize_4bit(codes, state)
        name = f"bitsandbytes {code}{', nested' * nested}, {columns}"
        yield name, Case(config, {"m.weight": codes, **parts}, expected)


def _mlx() -> Iterator[tuple[str, Case]]:
    """The same of MLX, scales as float32, so that it computes so."""
    import mlx.core as mx

    generator = np.random.default_rng(6)
    for bits, group, kind in ((4, 64, "float16"), (8, 32, "bfloat16"), (2, 32, "float16"), (3, 64, "bfloat16"),
                              (5, 32, "float16"), (6, 128, "float16")):  # fmt: skip
        weight = mx.array(generator.standard_normal((48, 128)).astype(np.float32) / 32).astype(getattr(mx, kind))
        words, scales, offsets = mx.quantize(weight, group_size=group, bits=bits)
        wide = [each.astype(mx.float32) for each in (scales, offsets)]
        expected = torch.from_numpy(np.array(mx.dequantize(words, *wide, group_size=group, bits=bits)))
        narrow = [torch.from_numpy(np.array(each)).to(getattr(torch, kind)) for each in wide]
        tensors = {"m.weight": torch.from_numpy(np.array(words)), "m.scales": narrow[0], "m.biases": narrow[1]}
        yield f"mlx {bits} bits, groups of {group}", Case({"bits": bits, "group_size": group}, tensors, expected)
    for mode, bits, group in (("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)):
        weight = mx.array(generator.standard_normal((48, 128)).astype(np.float32) / 32)
        words, scales = mx.quantize(weight, group_size=group, bits=bits, mode=mode)
        found = mx.dequantize(words, scales, group_size=group, bits=bits, mode=mode, dtype=mx.float32)
        tensors = {"m.weight": torch.from_numpy(np.array(words)), "m.scales": torch.from_numpy(np.array(scales))}
        config = {"bits": bits, "group_size": group, "mode": mode}
        yield f"mlx {mode}", Case(config, tensors, torch.from_numpy(np.array(found)))


def _compressed() -> Iterator[tuple[str, Case]]:
    """What compressed-tensors' own compressors write of random numbers, and make of that."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    generator = torch.Generator().manual_seed(9)
    rows, columns = 40, 96
    for layout, bits, kind, strategy, group, symmetric in (
        ("pack-quantized", 2, "int", "group", 32, False), ("pack-quantized", 3, "int", "group", 32, True),
        ("pack-quantized", 5, "int", "channel", None, False), ("pack-quantized", 6, "int", "group", 96, True),
        ("int-quantized", 8, "int", "tensor", None, True), ("mxfp6-pack-quantized", 6, "float", "group", 32, True),
    ):  # fmt: skip
        weights = {"num_bits": bits, "type": kind, "strategy": strategy, "symmetric": symmetric, "group_size": group}
        if kind == "float":
            weights |= {"scale_dtype": "torch.uint8"}
        scheme = QuantizationScheme(targets=["Linear"], weights=weights)
        count = columns // group if group else 1
        shape = (1,) if strategy == "tensor" else (rows, count)
        scale = torch.rand(shape, generator=generator) / 64 + 1 / 256
        if kind == "float":
            scale = torch.exp2(torch.randint(-8, -2, shape, generator=generator).float())
        half = 2 ** (bits - 1)
        zero = torch.randint(-half, half, shape, generator=generator).to(torch.int8)
        state = {"weight": torch.randn((rows, columns), generator=generator) / 8, "weight_scale": scale}
        if not symmetric:
            state["weight_zero_point"] = zero
        compressor = BaseCompressor.get_value_from_registry(layout)
        found = compressor.compress(state, scheme)
        expected = compressor.decompress(dict(found), scheme)["weight"]
        entry = {"weights": weights, "targets": ["Linear"], "format": layout}
        config = {"quant_method": "compressed-tensors", "format": layout, "config_groups": {"g": entry}}
        name = f"compressed-tensors {layout} {bits} bits, {strategy}{', zero points' * (not symmetric)}"
        yield name, Case(config, {f"m.{key}": value for key, value in found.items()}, expected.float())


def _as_numpy(tensor: torch.Tensor) -> Any:
    """Types that NumPy lacks come as their bits."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy()
    if tensor.dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        return tensor.view(torch.uint8).numpy()
    return tensor.numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("auto_gptq", "autoawq", "hqq"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    arrays = {}
    for name, case in chain(
        _gptq(given.auto_gptq), _awq(given.autoawq), _fp8(), _four_bits(), _bitsandbytes(), _mlx(), _hqq(given.hqq),
        _compressed(),
    ):
        named = {key: _NAMES[value.dtype] for key, value in case.tensors.items()}
        arrays[f"{name}|config"] = np.array(json.dumps({"config": case.config, "types": named}))
        arrays[f"{name}|expected"] = case.expected.float().numpy()
        arrays |= {f"{name}|{key}": _as_numpy(value) for key, value in case.tensors.items()}
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

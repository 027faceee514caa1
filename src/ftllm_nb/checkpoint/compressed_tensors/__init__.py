"""The compressed-tensors layout of quantized models, which transformers and vLLM load: config and tensors, in and out.

A quantized module's matrix lies in `NAME.weight_packed` (int32 [rows, words], with `NAME.weight_shape` int64 [2]) or, a
number a byte, in `NAME.weight` (int8 [rows, columns]); beside it `NAME.weight_scale` [rows, groups] and, unless
symmetric, `NAME.weight_zero_point` (packed along the rows in the first case). One scale a row is one group.
"""

from ftllm_nb.checkpoint.compressed_tensors.config import REGULAR, QuantizationConfig, read_config, write_config
from ftllm_nb.checkpoint.compressed_tensors.packing import pack, pack_zero_points, unpack, unpack_zero_points
from ftllm_nb.checkpoint.compressed_tensors.scheme import (
    INT_QUANTIZED,
    NAIVE_QUANTIZED,
    PACK_QUANTIZED,
    WeightScheme,
)
from ftllm_nb.checkpoint.compressed_tensors.tensors import QuantizedMatrix, stored_tensors

__all__ = [
    "INT_QUANTIZED",
    "NAIVE_QUANTIZED",
    "PACK_QUANTIZED",
    "REGULAR",
    "QuantizationConfig",
    "QuantizedMatrix",
    "WeightScheme",
    "pack",
    "pack_zero_points",
    "read_config",
    "stored_tensors",
    "unpack",
    "unpack_zero_points",
    "write_config",
]

"""Rows of a packed float matrix by token id."""

from __future__ import annotations

import functools

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES, load_weight
from ftllm_nb.kernels.memory import load_i32, store_f32
from ftllm_nb.kernels.step import STEP_TOKENS, argument, field, take_chunk

EMBEDDING_WEIGHT, EMBEDDING_FEATURES, EMBEDDING_OUTPUT, EMBEDDING_OUTPUT_STRIDE, EMBEDDING_IDS = range(5)
"""Arguments of a row; `IDS` is the step's field that holds the address of the row numbers, int32 [tokens]."""


@functools.cache
def embedding_kernel(kind: int) -> Kernel:
    """out[t] = the matrix's row that the t-th id names, as float32. Ids are checked before the step."""
    weight_bytes = WEIGHT_BYTES[kind]

    @kernel(variant=f"{kind}")
    def embedding(row, step, worker):
        w, features = argument(row, EMBEDDING_WEIGHT), argument(row, EMBEDDING_FEATURES)
        out, out_stride = argument(row, EMBEDDING_OUTPUT), argument(row, EMBEDDING_OUTPUT_STRIDE)
        ids, num_tokens = field(step, argument(row, EMBEDDING_IDS)), field(step, STEP_TOKENS)
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            token_id = load_i32(ids + 4 * token)
            source = w + ((token_id // 16) * features * 16 + token_id % 16) * weight_bytes
            target = out + token * out_stride
            for _ in range(features):
                store_f32(target, load_weight(source, kind))
                source += 16 * weight_bytes
                target += 4
            token = take_chunk(worker, num_tokens)

    return embedding

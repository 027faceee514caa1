"""Random weights: like a trained model's, the same at every read."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.checkpoint import RandomCheckpoint
from ftllm_nb.errors import CheckpointError, UsageError

SHAPES = {
    "model.embed_tokens.weight": (2048, 1024),
    "model.layers.0.mlp.up_proj.weight": (1024, 512),
    "model.layers.0.mlp.down_proj.weight": (512, 1024),
    "model.layers.0.input_layernorm.weight": (1024,),
    "model.layers.0.self_attn.q_proj.bias": (1024,),
    "scalar": (),
    "empty": (0, 3),
}


def as_float32(array: np.ndarray) -> np.ndarray:
    """The values of a float array, or of bfloat16 bits."""
    return (
        (array.astype(np.uint32) << 16).view(np.float32)
        if array.dtype == np.uint16
        else array.astype(np.float32)
    )


@pytest.mark.parametrize(
    "dtype, array_type", [("float32", np.float32), ("float16", np.float16), ("bfloat16", np.uint16)]
)
def test_values_are_like_a_trained_models(dtype: str, array_type: type) -> None:
    checkpoint = RandomCheckpoint({"model_type": "qwen2"}, SHAPES, dtype, seed=5)
    assert checkpoint.config == {"model_type": "qwen2"}
    for name, shape in SHAPES.items():
        info, array = checkpoint.tensors[name], checkpoint.read(name)
        assert (info.shape, info.dtype, info.nbytes) == (shape, dtype, array.nbytes)
        assert array.shape == shape and array.dtype == array_type and not array.flags.writeable
    values = as_float32(checkpoint.read("model.embed_tokens.weight"))
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() - 0.02) < 2e-4
    assert 0.06 < np.abs(values).max() < 0.13
    assert (as_float32(checkpoint.read("model.layers.0.input_layernorm.weight")) == 1).all()
    assert 0.01 < as_float32(checkpoint.read("model.layers.0.self_attn.q_proj.bias")).std() < 0.03


def test_bfloat16_is_float32_rounded_to_nearest_even() -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    exact = RandomCheckpoint({}, SHAPES, "float32", seed=5).read(name).astype(np.float64)
    bits = RandomCheckpoint({}, SHAPES, "bfloat16", seed=5).read(name)
    error = np.abs(as_float32(bits) - exact)
    for neighbour in (bits - 1, bits + 1):
        other = np.abs(as_float32(neighbour.astype(np.uint16)) - exact)
        assert ((error < other) | ((error == other) & (bits % 2 == 0))).all()


def test_seed_and_name_decide_the_values() -> None:
    up, down = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"
    first, second = RandomCheckpoint({}, SHAPES, seed=1), RandomCheckpoint({}, SHAPES, seed=1)
    down_first = first.read(down)
    np.testing.assert_array_equal(first.read(up), second.read(up))
    np.testing.assert_array_equal(second.read(down), down_first)
    assert (first.read(up).reshape(-1) != down_first.reshape(-1)).mean() > 0.9
    assert (RandomCheckpoint({}, SHAPES, seed=2).read(up) != first.read(up)).mean() > 0.9


def test_no_two_rows_of_a_matrix_are_alike() -> None:
    rows = RandomCheckpoint({}, SHAPES).read("model.embed_tokens.weight")
    assert len(np.unique(rows[:, :16], axis=0)) == len(rows)


def test_release_and_close_do_no_harm() -> None:
    with RandomCheckpoint({}, SHAPES) as checkpoint:
        kept = checkpoint.read("scalar")
        checkpoint.release("scalar")
    assert checkpoint.read("scalar") == kept


def test_unknown_names_and_types_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"no tensor named 'lm_head\.weight'"):
        RandomCheckpoint({}, SHAPES).read("lm_head.weight")
    with pytest.raises(UsageError, match="float32, float16, bfloat16, not 'int4'"):
        RandomCheckpoint({}, SHAPES, dtype="int4")

"""Checkpoints whose names are like no known architecture's: what is found by words and shapes, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.models import graph_class
from ftllm_nb.scaffold import candidates
from ftllm_nb.scaffold.candidates import nearest
from ftllm_nb.scaffold.model_file import ModelFile, model_file
from ftllm_nb.scaffold.roles import role_of
from tests.memory_checkpoint import MemoryCheckpoint
from tests.scaffold.renamed import (
    BLOCKS,
    DECODER,
    FOUR_NORMS,
    MIXTURE,
    TRANSFORMER,
    UNDERSCORES,
    Names,
    renamed,
)
from tests.scaffold.test_model_file import checkpoint_of, logits

Arrays = dict[str, NDArray[Any]]


FEW = ("gemma2", "gpt2", "gpt_neox", "llama", "mistral", "olmo2", "qwen3", "qwen3_moe")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a few architectures, not all, which takes long."""
    monkeypatch.setattr(candidates, "supported_architectures", lambda: FEW)


def begun(checkpoint: Checkpoint) -> ModelFile:
    return model_file(checkpoint, nearest(checkpoint), "novel")


def changed(known: Checkpoint, change: Callable[[Arrays], Mapping[str, NDArray[Any]]]) -> MemoryCheckpoint:
    return MemoryCheckpoint(known.config, change({name: known.read(name) for name in known.tensors}))


def require_equal(known: Checkpoint, model_type: str, checkpoint: Checkpoint, made: ModelFile, folder: Path) -> None:
    file = folder / "novel.py"
    file.write_text(made.text)
    expected = logits(known, graph_class({"model_type": model_type}))
    np.testing.assert_array_equal(logits(checkpoint, file), expected)


@pytest.mark.parametrize(
    "model_type, names, entries",
    [
        ("llama", BLOCKS, {}),
        ("llama", DECODER, {"num_key_value_heads": 6}),
        ("qwen2", DECODER, {}),
        ("qwen3", BLOCKS, {}),
        ("gemma2", FOUR_NORMS, {}),
        ("gpt_neox", TRANSFORMER, {}),
        ("gpt2", UNDERSCORES, {}),
        ("qwen3_moe", MIXTURE, {}),
    ],
)
def test_other_names_for_all_tensors(
    model_type: str, names: Names, entries: dict[str, Any], tmp_path: Path
) -> None:
    known = checkpoint_of(model_type, **entries)
    checkpoint = renamed(known, names)
    made = begun(checkpoint)
    assert made.todos == [] and "Tensors with names of their own" in made.text
    assert "if i " not in made.text or model_type == "gemma2"  # whose layers are of two kinds
    assert "eps = config[" in made.text or model_type.startswith("gpt")  # and is no number
    require_equal(known, model_type, checkpoint, made, tmp_path)


def test_one_other_name_is_found(tmp_path: Path) -> None:
    known = checkpoint_of("llama")
    checkpoint = changed(known, lambda held: {name.replace("model.norm", "model.ln_f"): held[name] for name in held})
    made = begun(checkpoint)
    assert made.todos == [] and "- model.ln_f.weight: model.norm.weight" in made.text
    require_equal(known, "llama", checkpoint, made, tmp_path)


def test_what_shapes_and_words_do_not_tell_apart_is_a_todo(tmp_path: Path) -> None:
    known = checkpoint_of("llama")
    other = {"gate_proj": "north", "up_proj": "south", "input_layernorm": "n_east"}
    other |= {"post_attention_layernorm": "n_west"}

    def change(held: Arrays) -> Arrays:
        names = {name: name for name in held}
        for old, new in other.items():
            names = {name: own.replace(old, new) for name, own in names.items()}
        return {own: held[name] for name, own in names.items()}

    checkpoint = changed(known, change)
    made = begun(checkpoint)
    assert len(made.todos) == 2
    for first, second, taken in (("mlp.north", "mlp.south", "mlp.gate_proj"), ("n_east", "n_west", "input_layernorm")):
        (todo,) = (todo for todo in made.todos if first in todo)
        assert todo.startswith("neither shapes nor names tell which of model.layers.*.") and second in todo
        assert taken in todo and "in the checkpoint's order" in todo
    require_equal(known, "llama", checkpoint, made, tmp_path)


def test_matrices_that_lie_in_one_are_cut_and_said(tmp_path: Path) -> None:
    known = checkpoint_of("llama")

    def join(held: Arrays) -> Arrays:
        found: Arrays = {}
        for name, array in held.items():
            layer, _, rest = name.partition(".self_attn.")
            if rest in ("q_proj.weight", "k_proj.weight", "v_proj.weight"):
                own = f"{layer}.attn.qkv"
                array = np.concatenate([found[own], array]) if own in found else array
                found[own] = array
            else:
                found[name] = array
        return found

    checkpoint = changed(known, join)
    made = begun(checkpoint)
    (todo,) = made.todos
    assert "attn.qkv" in todo and "queries, keys and values one behind the other: heads" in todo
    assert 'layer[".attn.qkv"].rows(0, ' in made.text
    require_equal(known, "llama", checkpoint, made, tmp_path)


def test_matrices_that_are_stored_the_other_way_round(tmp_path: Path) -> None:
    known = checkpoint_of("llama")
    checkpoint = changed(
        known, lambda held: {n: a.T.copy() if "_proj" in n else a for n, a in held.items()}
    )
    made = begun(checkpoint)
    (todo,) = made.todos
    assert todo.startswith("matrices are stored as [in, out], as ") and "square ones, as " in todo
    assert 'layer[".mlp.down_proj.weight"].transposed()' in made.text
    require_equal(known, "llama", checkpoint, made, tmp_path)


def test_what_is_missing_is_named_with_what_has_its_shape() -> None:
    known = checkpoint_of("llama")

    def change(held: Arrays) -> Arrays:
        return {
            ("extra.bias" if name == "model.norm.weight" else name): array for name, array in held.items()
        }

    todos = " ".join(begun(changed(known, change)).todos)
    assert "the checkpoint has no model.norm.weight; of its shape is extra.bias [24]" in todos


def test_what_a_layer_lacks_is_written_once_for_all_layers() -> None:
    own = renamed(checkpoint_of("llama"), BLOCKS)
    made = begun(MemoryCheckpoint(own.config, {n: a for n, a in own.arrays.items() if "attn_output" not in n}))
    (todo,) = made.todos
    assert todo.startswith("the checkpoint has no blk.0.self_attn.o_proj.weight")
    assert made.text.count('layer[".self_attn.o_proj.weight"]') == 1 and "if i " not in made.text


@pytest.mark.parametrize(
    "name, what, part",
    [
        ("attn.qkv", "queries, keys and values", "attention"),
        ("attention.query_key_value.weight", "queries, keys and values", "attention"),
        ("self.query.weight", "queries", "attention"),
        ("attention.wk", "keys", "attention"),
        ("attnVProj.weight", "values", "attention"),
        ("attention.dense.weight", "output", "attention"),
        ("wo.weight", "output", "attention"),
        ("feed_forward.w1.weight", "gate", "forward"),
        ("ff.out.weight", "down", "forward"),
        ("mlp.dense_h_to_4h.bias", "up", "forward"),
        ("mlp.gate_up_proj.weight", "gate and up", "forward"),
        ("attn_q_norm.weight", "query norm", "attention"),
        ("ln_2.weight", "norm", "forward"),
        ("mystery.weight", "", ""),
    ],
)
def test_roles(name: str, what: str, part: str) -> None:
    role = role_of(name, True)
    assert (role.what, role.part if role.what != "query norm" else "attention") == (what, part)
    assert role.is_bias == name.endswith("bias")

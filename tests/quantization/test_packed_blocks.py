"""Packed folders of matrices in ggml's block types: what `--dtype` makes of floats while they load, and by calibration.

Products and searches of Q4_K are compiled for other quick tests, too.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb import llm
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.weight_types import WeightTypes, read_rules
from ftllm_nb.quantization import calibrated, job, run
from ftllm_nb.quantization.formats.packed import FORMAT as PACKED
from ftllm_nb.quantization.options import QuantizeOptions
from tests.golden.small_models import SMALL_MODELS, write_checkpoint
from tests.quantization.test_command import DEMO, quantize
from tests.quantization.test_folder import logits

CONFIG = {**SMALL_MODELS["llama_mha"], "hidden_size": 256, "intermediate_size": 256}
NAME = "model.layers.0.mlp.down_proj.weight"
SLOW = pytest.mark.slow
"""Searches and products of its own take a while to compile."""


def model_folder(folder: Path, stored: str = "float32", config: dict[str, object] = CONFIG) -> Path:
    return write_checkpoint(folder / "model", "llama_head_dim", config, stored)


def types_of(folder: Path) -> dict[str, str]:
    with open_checkpoint(folder) as checkpoint:
        return {name: str(info.dtype) for name, info in checkpoint.tensors.items()}


def float_tables(folder: Path) -> Path:
    """Rules that leave embeddings and the matrix of logits as they are."""
    rules = folder / "rules.json"
    rules.write_text(json.dumps([{"key": "embed|lm_head", "dtype": "auto"}]))
    return rules


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [("float32", "q4_k"), *(pytest.param(*each, marks=SLOW) for each in (("float16", "iq4_nl"), ("bfloat16", "q5_1")))],
)
def test_logits_are_those_of_floats_that_become_blocks_while_they_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str, dtype: str
) -> None:
    folder, rules = model_folder(tmp_path, stored), float_tables(tmp_path)
    monkeypatch.setattr(run, "BYTES_AT_ONCE", 20_000)  # some rows at a time
    done = quantize(folder, "-o", tmp_path / "out", "--format", "packed", "--dtype", dtype, "--dtype_config", rules)
    assert done.returncode == 0 and "columns" not in done.stderr
    assert types_of(tmp_path / "out")[NAME] == dtype.upper()
    found, expected = logits(tmp_path / "out", WeightTypes()), logits(folder, WeightTypes(dtype, stored))
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(found, expected)


def test_a_text_and_a_stopped_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    flags = ("--format", "packed", "--dtype", "q4_k", "--method", "gptq", "--calibration_tokens", 1024, "-t", 2)
    assert quantize(DEMO, "-o", tmp_path / "once", *flags).returncode == 0
    with monkeypatch.context() as patch:
        patch.setattr(calibrated, "capture", stopped)
        assert quantize(DEMO, "-o", tmp_path / "out", *flags).returncode == 130
    assert quantize(DEMO, "-o", tmp_path / "out", *flags, "--resume").returncode == 0
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("once", "out"))
    assert one == other
    types = types_of(tmp_path / "once")
    assert types[NAME] == "Q4_K" and types["model.embed_tokens.weight"].startswith("int8g128")
    with llm.model(str(tmp_path / "once")) as model:
        assert "42" in model.response("What is 17 + 25?", temperature=0)


def test_rows_that_blocks_do_not_divide_have_the_next_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "read_windows", lambda *_: ([], []))
    folder = model_folder(tmp_path, config={**CONFIG, "hidden_size": 288})
    with open_checkpoint(folder) as checkpoint:
        planned = PACKED.job(checkpoint, QuantizeOptions("q4_k", "mse", format="packed")).tensors
        tensors = {tensor.name: tensor for tensor in planned}
        assert str(tensors[NAME].rounded_type) == "Q4_K"
        up = tensors[NAME.replace("down", "up")]
        assert (str(up.rounded_type), up.note) == ("Q5_0", "288 columns are no multiple of the blocks of q4_k")
        asymmetric = PACKED.job(checkpoint, QuantizeOptions("int4g32", "gptq", symmetric=False, format="packed"))
        assert not any(dtype.startswith(("q", "iq")) for unit in asymmetric.units() for dtype in unit.bits)
        symmetric = PACKED.job(checkpoint, QuantizeOptions("iq4_nl", "gptq", format="packed"))
        bits = {unit.tensors[0]: unit.bits for unit in symmetric.units()}
        assert {"iq4_nl", "q4_k", "q6_k", "int8g32"} <= bits[NAME].keys()
        assert bits[NAME]["iq4_nl"] == 4.5 * 288 * 256
        assert "q4_k" not in bits[NAME.replace("down", "up")] and "q5_0" in bits[NAME.replace("down", "up")]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--format", "packed", "--asymmetric"), "--asymmetric is for types of whole numbers, as int4g32: q4_k has"),
        ((), "--dtype q4_k is of --format gguf or packed, and compressed_tensors has int4,"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, flags: tuple[str, ...], says: str) -> None:
    done = quantize(DEMO, "-o", tmp_path / "out", "--dtype", "q4_k", *flags)
    assert done.returncode == 2 and says in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("factor", "says"), [(2.0**-24, "too small for q4_k"), (np.nan, "are not finite")])
def test_numbers_that_no_scale_holds_are_one_sentence(tmp_path: Path, factor: float, says: str) -> None:
    folder = write_checkpoint(tmp_path / "model", "llama_head_dim", CONFIG, "float32", {NAME: factor})
    done = quantize(folder, "-o", tmp_path / "out", "--format", "packed", "--dtype", "q4_k")
    assert done.returncode == 2 and NAME in done.stderr and says in done.stderr


def test_a_rule_may_name_a_block_type(tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"key": "down_proj", "dtype": "q4_k"}]))
    with open_checkpoint(model_folder(tmp_path)) as checkpoint:
        options = QuantizeOptions("int4g32", "rtn", rules=read_rules(rules), format="packed")
        types = {tensor.name: str(tensor.rounded_type) for tensor in PACKED.job(checkpoint, options).tensors}
    assert types[NAME] == "Q4_K" and types[NAME.replace("down", "up")] == "int4g32_float16"

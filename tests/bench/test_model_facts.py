"""What a model needs: counted from shapes, compared with the memory that is free."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ftllm_nb.benchmark import limits
from ftllm_nb.benchmark.model_facts import _token_bytes, fit, layers_of, model_facts, model_rows
from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.checkpoint.compressed_tensors import WeightScheme
from ftllm_nb.cli import main
from ftllm_nb.graph.build import build_graph
from ftllm_nb.loading import describe, model_folder
from ftllm_nb.models import graph_class
from tests.engine.test_mamba_models import CONFIGS as MAMBA
from tests.engine.test_recurrent_models import weights
from tests.engine.test_windows import CONFIG as WINDOWED
from tests.golden.small_models import write_checkpoint
from tests.graph.small_graphs import CONFIG
from tests.memory_checkpoint import MemoryCheckpoint
from tests.models.small_configs import EXPERTS
from tests.quantized_folders import quantize_folder

DEMO = model_folder("demo")
CONFIGS = Path(__file__).parents[2] / "bench" / "configs"


def test_the_bundled_model() -> None:
    facts = model_facts(DEMO)
    width, inner, layers, vocabulary, keys = 256, 768, 6, 2048, 128
    attention = 2 * width * width + 2 * width * keys + width + 2 * keys
    parameters = vocabulary * width + width + layers * (attention + 3 * width * inner + 2 * width)
    assert (facts.architecture, facts.layers, facts.context, facts.vocabulary) == ("qwen2", 6, 1024, 2048)
    assert facts.parameters == parameters
    assert facts.stored_dtype == "bfloat16"
    # Matrices have two bytes a number in bfloat16 and four in float32; vectors always have four.
    matrices = vocabulary * width + layers * (2 * width * width + 2 * width * keys + 3 * width * inner)
    assert facts.weight_bytes["float32"] == 4 * parameters
    assert facts.weight_bytes["auto"] == facts.weight_bytes["bfloat16"] == 2 * matrices + 4 * (parameters - matrices)
    assert facts.weight_bytes["int4"] < facts.weight_bytes["int8"] < facts.weight_bytes["bfloat16"]
    # Keys and values of 1024 positions, in 6 layers with 2 heads of 64.
    assert facts.cache_bytes["float32"] == {"all positions": 1024 * layers * 2 * keys * 4}
    assert facts.cache_bytes["float16"] == {"all positions": 1024 * layers * 2 * keys * 2}


def test_a_model_that_is_quantized_already(tmp_path: Path) -> None:
    """Its own types alone: what --dtype names is for the few other matrices."""
    schemes = {"Linear": WeightScheme(4, 64, symmetric=False), "re:.*down_proj": WeightScheme(8)}
    quantize_folder(DEMO, tmp_path / "quantized", schemes, scales="bfloat16")
    whole, facts = model_facts(DEMO), model_facts(tmp_path / "quantized")
    assert facts.parameters == whole.parameters
    assert list(facts.weight_bytes) == ["auto"] and facts.weight_bytes["auto"] < whole.weight_bytes["auto"] / 2
    named = ["int4g64 with zero points, bfloat16 scales", "int8, bfloat16 scales", "bfloat16"]
    assert facts.stored_types == named and whole.stored_types == ["bfloat16"]
    rows = model_rows(facts, 10**9)
    assert ("matrices", "; ".join(named)) in rows
    assert [text.split("  ")[0] for name, text in rows if name == "weights"] == ["auto (int4g64)"]


def test_the_cache_by_what_layers_see(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "facts", WINDOWED, "float32")
    facts = model_facts(folder, context=1000)
    assert facts.seeing == {"a window of 70": 3, "all positions": 1} and facts.context == 1024
    # A block is that of the one full layer, values padded to 16; the window's layers hold three, the full one sixteen.
    block = 64 * WINDOWED["num_key_value_heads"] * (8 + 16) * 2
    assert facts.cache_bytes["float16"] == {"a window of 70": 3 * 3 * block, "all positions": 16 * block}
    rows = model_rows(facts, 10**9)
    at = next(number for number, (name, _) in enumerate(rows) if name == "KV cache at 1000")
    assert [text for _, text in rows[at + 1 : at + 3]] == [
        "0.1 MB: 3 layers see a window of 70", "0.1 MB: 1 layer sees all positions"
    ]  # fmt: skip
    assert ("weights" in {name for name, _ in rows}) and any("fits with 1000 tokens" in text for _, text in rows)


def test_of_a_mixture_what_a_token_needs_is_told(tmp_path: Path) -> None:
    config = CONFIG | {"model_type": "qwen3_moe", "head_dim": 8, "torch_dtype": "float32"} | EXPERTS
    shapes = build_graph(graph_class(config), config).weight_shapes()
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    facts = model_facts(tmp_path)
    layers, hidden, inner = config["num_hidden_layers"], config["hidden_size"], config["moe_intermediate_size"]
    idle = layers * (config["num_experts"] - config["num_experts_per_tok"]) * 3 * inner * hidden
    assert facts.active_parameters == facts.parameters - idle
    rows = model_rows(facts, 10**9)
    assert dict(rows)["parameters"].endswith(" for a token")
    stored = config["num_hidden_layers"] * config["num_key_value_heads"] * 2 * config["head_dim"]
    assert dict(rows)["KV of a token"].startswith(f"{stored} numbers, ")
    assert dict(rows)["experts"].startswith("are copied into memory; those of a packed folder may stay in its files")
    stored = dict(model_rows(replace(facts, in_place_bytes=5_000_000), 10**9))
    assert stored["experts"].startswith("5.0 MB, which stay in their files")
    assert all(" for a token, fits" in text for name, text in rows if name == "weights")
    assert not any("for a token" in text for _, text in model_rows(model_facts(DEMO), 10**9))


def test_a_latent_cache_holds_576_numbers_a_layer() -> None:
    """Of DeepSeek-V2-Lite, whose heads would have 5,120 numbers a layer."""
    with open_weights(Settings(random=True, random_config=str(CONFIGS / "deepseek-v2-lite.json"))) as checkpoint:
        graph = describe(checkpoint)
    assert {_token_bytes(graph, kind) for kind in ("float32", "float16")} == {27 * 576 * 4, 27 * 576 * 2}
    assert _token_bytes(graph, "int8") == 27 * (576 + 4)  # and a scale


def test_layers_that_read_what_others_store(tmp_path: Path) -> None:
    config = CONFIG | {
        "model_type": "gemma4_text", "num_hidden_layers": 6, "num_kv_shared_layers": 3, "sliding_window": 16,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2, "head_dim": 8,
    }  # fmt: skip
    shapes = build_graph(graph_class(config), config).weight_shapes()
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    facts = model_facts(tmp_path)
    assert facts.layers == 6
    assert facts.seeing == {"a window of 16": 4, "all positions": 2}
    assert facts.storing == {"a window of 16": 2, "all positions": 1}
    texts = [text.partition(": ")[2] for _, text in model_rows(facts, 10**9)]
    assert "4 layers see a window of 16; 2 layers store it for all of them" in texts
    assert "2 layers see all positions; 1 layer stores it for all of them" in texts


def test_what_fits() -> None:
    assert fit(100, 50, 1000) == "fits with a full context"
    assert fit(100, 900, 1000) == "fits with a shorter context"
    assert fit(950, 1, 1000) == "does not fit"
    assert fit(950, 1, 1000, in_place=51) == "fits with experts in their files"
    assert fit(950, 1, 1000, in_place=49) == "does not fit"
    assert fit(1, 1, None) == ""


def test_rows_name_each_type() -> None:
    rows = model_rows(model_facts(DEMO), 8 * 10**6)
    text = "\n".join(text for _, text in rows)
    assert "5.25 million" in text and "qwen2, 6 layers" in text
    fits = {line.split()[0]: line.rpartition("MB  ")[2] for name, line in rows if name in ("weights", "")}
    assert fits["float32"] == "does not fit" and fits["int8"] == "fits with a shorter context"
    assert fits["int4"] == "fits with a full context" and fits["auto"] == "does not fit"


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "-p", "demo"]) == 0
    out = capsys.readouterr().out
    assert "architecture" in out and "context        1024 tokens" in out and "int4g256" in out
    assert main(["info", "demo", "--context", "100"]) == 0
    # Two blocks of 64 positions, of 6 layers with 2 heads of 64, keys and values of two bytes.
    assert "KV cache at 100  0.4 MB as float16" in capsys.readouterr().out
    assert main(["info", "-p", "demo", "--context", "2000"]) == 2
    assert capsys.readouterr().err == "error: --context 2000 is none of this model's: it reads 1 to 1024 tokens.\n"
    assert main(["info", "-p", "/no/such/folder"]) == 2
    assert main(["info", "-p", ""]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_the_machine_and_its_limits_when_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(threads: int, read_bytes: int) -> limits.MachineLimits:
        asked.append(threads)
        return limits.MachineLimits(threads, read_bytes, read_gb_per_s=12.3, fma_gflop_per_s=4.0, dot_gop_per_s=None)

    monkeypatch.setattr(limits, "measure_limits", measured)
    assert main(["info", "-t", "1"]) == 0
    names = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert {"CPU", "features", "tier", "threads", "free memory", "limits", "kernel cache", "settings"} <= set(names)
    assert not asked
    assert main(["info", "-t", "1", "--limits"]) == 0
    out = capsys.readouterr().out
    assert "12.3 GB/s over" in out and "4 GFLOP/s" in out and "no dot-product instruction" in out and asked == [1]
    assert main(["info", "-p", "demo", "-t", "2", "--limits"]) == 0
    out = capsys.readouterr().out
    assert "architecture" in out and "12.3 GB/s over" in out and asked == [1, 2]


@pytest.mark.parametrize(("model_type", "layers"), [("falcon_h1", 2), ("nemotron_h", 5)])
def test_layers_are_counted_whatever_they_keep(model_type: str, layers: int) -> None:
    """Keys and values and states in one layer, or nothing."""
    config = MAMBA[model_type]
    assert layers_of(describe(MemoryCheckpoint(dict(config), weights(config)))) == layers

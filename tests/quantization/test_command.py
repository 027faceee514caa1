"""`ftllm-nb quantize` from the outside."""

from __future__ import annotations

import io
import json
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
from safetensors import safe_open

import ftllm_nb
from ftllm_nb.checkpoint.compressed_tensors import WeightScheme, read_config
from ftllm_nb.cli import main
from ftllm_nb.quantization.formats import output_format
from ftllm_nb.quantization.table import plan_table
from ftllm_nb.quantization.tensors import PlannedTensor

DEMO = Path(ftllm_nb.__file__).parent / "demo"


def quantize(*arguments: object, command: str = "quantize") -> subprocess.CompletedProcess[str]:
    """What `ftllm-nb quantize` does, here and now: a process for each call would take longer than the work."""
    words = [command, *map(str, arguments)]
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        status = main(words)
    return subprocess.CompletedProcess(words, status, stdout.getvalue(), stderr.getvalue())


def test_a_folder_that_others_load(tmp_path: Path) -> None:
    out = tmp_path / "q4"
    done = quantize(DEMO, "-o", out, "--dtype", "int4g32", "-t", 2)
    assert (done.returncode, done.stderr) == (0, "")
    kept = "model.embed_tokens.weight stays bfloat16, 1.0 MB of it"
    assert done.stdout.startswith(f"{out}: 3.7 MB, 5.69 bits a weight; {kept} (")
    copied = {"generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {entry.name for entry in tmp_path.iterdir()} == {"q4"}
    assert {entry.name for entry in out.iterdir()} == {"config.json", "model.safetensors", *copied}
    for name in copied:
        assert (out / name).read_bytes() == (DEMO / name).read_bytes()
    config = json.loads((out / "config.json").read_text())
    read = read_config(config, "config.json")
    assert read is not None and read.scheme_of("model.layers.0.mlp.up_proj") == WeightScheme(4, 32)
    assert read.scheme_of("lm_head") is None
    del config["quantization_config"]
    assert config == json.loads((DEMO / "config.json").read_text())
    with safe_open(out / "model.safetensors", "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if "proj.weight_" in name}
    up = "model.layers.0.mlp.up_proj.weight"
    assert tensors[up + "_packed"].dtype == np.int32 and tensors[up + "_packed"].shape == (768, 32)
    assert tensors[up + "_scale"].dtype == np.float16 and tensors[up + "_scale"].shape == (768, 8)
    assert tensors[up + "_shape"].tolist() == [768, 256]


def test_dry_run_says_that_out_exists(tmp_path: Path) -> None:
    done = quantize(DEMO, "-o", tmp_path, "--dtype", "int8", "--dry-run")
    assert done.returncode == 0 and done.stdout.startswith("| tensor ")
    assert done.stderr == f"warning: {tmp_path} exists: name another -o, or let --force replace it.\n"


def test_layers_are_in_the_order_of_their_numbers() -> None:
    names = ["model.layers.10.b", "model.layers.2.b", "model.layers.2.a", "model.norm", "lm_head", "a" + "1" * 5000]
    tensors = [PlannedTensor(name, (4,), "float32", 16, False, None) for name in names]
    lines = plan_table(tensors, output_format("packed")).splitlines()[2:-1]
    assert [line.split("|")[1].strip() for line in lines] == [
        "a" + "1" * 5000, "lm_head", "model.layers.2.a", "model.layers.2.b", "model.layers.10.b", "model.norm",
    ]  # fmt: skip


def test_dry_run_writes_nothing_and_says_where_a_folder_loads(tmp_path: Path) -> None:
    done = quantize(DEMO, "-o", tmp_path / "out", "--dtype", "int4g256", "--dry-run", command="export")
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []
    assert "vLLM does not load int4g256" in done.stderr
    lines = {line.split("|")[1].strip(): line for line in done.stdout.splitlines()}
    assert lines["model.layers.0.mlp.down_proj.weight"].split("|")[2:7] == [
        " 256 × 768  ", " bfloat16 ", " int4g256 ", " 0.100 ", "          4.06 ",
    ]  # fmt: skip
    assert "bfloat16 | bfloat16" in lines["model.embed_tokens.weight"] and "5,249,280" in lines["total"]


def test_a_folder_has_no_name_of_a_file(tmp_path: Path) -> None:
    done = quantize(DEMO, "-o", tmp_path / "x.gguf", "--format", "packed")
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert "x.gguf names a gguf file, and --format packed makes folders: change one." in done.stderr

"""What goes wrong while a model is quantized: nothing half-written loads, nothing is lost, a stopped run goes on."""

from __future__ import annotations

import json
import re
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.forking.programs import program, python
from tests.golden.small_models import SMALL_MODELS, write_checkpoint
from tests.quantization.test_command import quantize

FLAGS = ("--dtype", "int4g32", "--asymmetric", "-t", "2", "--max_shard_size", "60KB")
MODEL = "llama_biases"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    write_checkpoint(folder, MODEL, SMALL_MODELS[MODEL], "bfloat16")
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def whole(model: Path) -> dict[str, bytes]:
    """What a run that nothing hinders makes."""
    out = model.parent / "whole"
    assert quantize(model, "-o", out, *FLAGS).returncode == 0
    made = contents(out)
    assert "model.safetensors.index.json" in made and "tokenizer.json" in made
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def hindered(hindrance: str, *arguments: object, wrapper: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    # What wraps it changes what the process sees, which a fork of another would not.
    begin = python if wrapper else program
    command = [*wrapper, *begin("tests.quantization.hindered_run", hindrance, "quantize", *map(str, arguments))]
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root)


def loads(folder: Path) -> bool:
    return (folder / "config.json").exists()


def sentence(stderr: str) -> str:
    assert stderr.startswith("error: ") and stderr.count("\n") == 1 and stderr.endswith(".\n"), stderr
    return stderr.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize("write", [1, 2, 17, 60])
def test_killed_while_it_writes_and_resumed(model: Path, whole: dict[str, bytes], tmp_path: Path, write: int) -> None:
    out = tmp_path / "out"
    process = hindered(f"kill={write}", model, "-o", out, *FLAGS)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.partial"] and not loads(tmp_path / "out.partial")
    done = quantize(model, "-o", out, *FLAGS, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(out) == whole and [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_killed_from_outside_and_what_was_damaged_since_is_made_again(
    model: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    process = hindered("slow=0.2", model, "-o", out, *FLAGS)
    journal = partial / "quantize.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 8:
        time.sleep(0.005)
    busy = quantize(model, "-o", out, *FLAGS)
    assert busy.returncode == 2 and "another run is writing" in sentence(busy.stderr)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL and not out.exists() and not loads(partial)
    shard = next(partial.glob("model-00001-*"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with open(journal, "ab") as file:
        file.write(b'{"tensor": "torn')
    assert quantize(model, "-o", out, *FLAGS, "--resume").returncode == 0
    assert contents(out) == whole


def test_resuming_another_job_is_refused_and_keeps_what_was_done(model: Path, tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    hindered("kill=30", model, "-o", out, *FLAGS).communicate(timeout=60)
    kept = contents(partial)
    refused = quantize(model, "-o", out, *FLAGS, "--method", "rtn", "--resume")
    assert refused.returncode == 2 and "begun from another model or with other flags" in sentence(refused.stderr)
    assert contents(partial) == kept
    assert quantize(model, "-o", out, *FLAGS, "--method", "rtn").returncode == 0
    assert not partial.exists()


def test_ctrl_c_keeps_what_was_done(model: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    process = hindered("slow=0.2", model, "-o", out, *FLAGS)
    journal = partial / "quantize.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == f"stopped: {partial} keeps what was done, for --resume.\n" and not loads(partial)
    assert quantize(model, "-o", out, *FLAGS, "--resume").returncode == 0
    assert contents(out) == whole


def test_a_disk_that_cannot_be_read(model: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    process = hindered("unread=9", model, "-o", out, *FLAGS)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 2 and sentence(stderr) == (
        f"{model}/model.safetensors cannot be read: Input/output error; {partial} keeps what was done, for --resume."
    )
    assert quantize(model, "-o", out, *FLAGS, "--resume").returncode == 0
    assert contents(out) == whole
    # At the first tensor there is nothing to keep. (The file is opened once more for its header.)
    shutil.rmtree(out)
    process = hindered("unread=2", model, "-o", out, *FLAGS)
    assert sentence(process.communicate(timeout=60)[1]).endswith("Input/output error.")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_becomes_full(model: Path, tmp_path: Path) -> None:
    process = hindered("full=20", model, "-o", tmp_path / "out", *FLAGS)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 2 and sentence(stderr).startswith(f"{tmp_path} has no room left (No space left on")
    assert list(tmp_path.iterdir()) == []


def on_a_small_disk(folder: Path, size: str) -> tuple[str, ...]:
    """A command before a command: it sees a disk of that size in the folder, as long as it runs."""
    script = f'mount -t tmpfs -o size={size} tmpfs "$0" && "$@"; status=$?; ls -A "$0" >&2; exit $status'
    wrapper = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(folder))
    probe = subprocess.run([*wrapper, "true"], capture_output=True, text=True) if shutil.which("unshare") else None
    if probe is None or probe.returncode != 0:
        pytest.skip("a file system cannot be mounted here, not even in a namespace of its own")
    return wrapper


@pytest.mark.parametrize("hindrance", ["slow=0", "unchecked=0"])
def test_a_small_disk(model: Path, tmp_path: Path, hindrance: str) -> None:
    """Without room it says so before it begins; where the disk becomes full all the same, it leaves it empty."""
    process = hindered(hindrance, model, "-o", tmp_path / "out", *FLAGS, wrapper=on_a_small_disk(tmp_path, "48k"))
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    expected = "has no room: 0.1 MB are needed and 0.0 MB are free" if hindrance == "slow=0" else "has no room left ("
    assert expected in sentence(stderr)  # one line: `ls` found nothing


def test_a_read_only_place(model: Path, tmp_path: Path) -> None:
    process = hindered("slow=0", model, "-o", tmp_path / "out", *FLAGS, wrapper=on_a_small_disk(tmp_path, "1m,ro"))
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert sentence(stderr) == f"{tmp_path}/out.partial cannot be written: Read-only file system."


def test_what_only_has_the_name_of_unfinished_work_is_left_alone(
    model: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    partial.mkdir()
    (partial / "thesis.txt").write_text("years")
    for flags in (FLAGS, (*FLAGS, "--resume")):
        refused = quantize(model, "-o", out, *flags)
        assert refused.returncode == 2 and "is something else: name another -o" in sentence(refused.stderr)
    assert contents(partial) == {"thesis.txt": b"years"} and not out.exists()
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(partial)
    partial.symlink_to(tmp_path / "elsewhere")
    assert quantize(model, "-o", out, *FLAGS).returncode == 2
    partial.unlink()
    partial.mkdir()  # what a kill at the very beginning leaves
    assert quantize(model, "-o", out, *FLAGS, "--resume").returncode == 0
    (tmp_path / "out.replaced").mkdir()
    refused = quantize(model, "-o", out, *FLAGS, "--force")
    assert refused.returncode == 2 and "exists: rename that first" in sentence(refused.stderr)
    assert contents(out) == whole


@pytest.mark.parametrize("name", ["layers.1.mlp.up_proj", "norm", "embed_tokens"])
def test_weights_that_are_no_numbers(model: Path, tmp_path: Path, name: str) -> None:
    name = f"model.{name}.weight"
    spoilt = tmp_path / "spoilt"
    shutil.copytree(model, spoilt)
    content = bytearray((spoilt / "model.safetensors").read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    _, end = json.loads(content[8 : 8 + length])[name]["data_offsets"]
    content[8 + length + end - 2 : 8 + length + end] = np.uint16(0x7FC0).tobytes()
    (spoilt / "model.safetensors").write_bytes(content)
    done = quantize(spoilt, "-o", tmp_path / "out", *FLAGS)
    assert done.returncode == 2 and sentence(done.stderr).startswith(f'the tensor "{name}" holds numbers that are not')
    assert [entry.name for entry in tmp_path.iterdir()] == ["spoilt"]


@pytest.mark.slow
def test_what_exists_is_replaced_only_by_force_and_only_a_model(
    model: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out, precious = tmp_path / "out", tmp_path / "precious"
    assert quantize(model, "-o", out, "--dtype", "int8").returncode == 0
    before = contents(out)
    refused = quantize(model, "-o", out, *FLAGS)
    assert refused.returncode == 2 and sentence(refused.stderr) == (
        f"{out} exists: name another -o, or let --force replace it."
    )
    assert contents(out) == before
    process = hindered("full=9", model, "-o", out, *FLAGS, "--force")
    process.communicate(timeout=60)
    assert process.returncode == 2 and contents(out) == before
    assert quantize(model, "-o", out, *FLAGS, "--force").returncode == 0
    assert contents(out) == whole and [entry.name for entry in tmp_path.iterdir()] == ["out"]
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    for place, says in ((precious, "is no model's folder"), (precious / "thesis.txt", "exists, and is no folder")):
        refused = quantize(model, "-o", place, *FLAGS, "--force")
        assert refused.returncode == 2 and says in sentence(refused.stderr)
    refused = quantize(model, "-o", precious / "thesis.txt", *FLAGS)
    assert "--force" not in sentence(refused.stderr)
    assert (precious / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize("name", ["notes.txt", "adapter/adapter.json"])
def test_what_is_no_part_of_a_model_is_not_replaced(model: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    assert quantize(model, "-o", out, "--dtype", "int8").returncode == 0
    path = out / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    refused = quantize(model, "-o", out, *FLAGS, "--force")
    assert refused.returncode == 2
    assert f'{out} holds "{name.split("/")[0]}", which is no part of a model' in sentence(refused.stderr)
    assert path.read_text() == "mine"


def test_the_model_itself_is_not_replaced(model: Path, tmp_path: Path) -> None:
    copy, links = tmp_path / "copy", tmp_path / "links"
    shutil.copytree(model, copy)
    links.mkdir()
    for file in copy.iterdir():
        (links / file.name).symlink_to(file)
    before = contents(copy)
    for source in (copy, links):
        refused = quantize(source, "-o", copy, *FLAGS, "--force")
        assert refused.returncode == 2 and "holds the model that is to be quantized" in sentence(refused.stderr)
        assert contents(copy) == before


@pytest.mark.parametrize(
    ("dtype", "flags"),
    [
        ("float32", ("int8",)), ("bfloat16", ("int4g32", "--method", "rtn")),
        ("float32", ("int4g32", "--format", "packed")),
    ],
)
def test_a_matrix_too_small_for_its_scales_is_refused(tmp_path: Path, dtype: str, flags: tuple[str, ...]) -> None:
    """Zeros are not; and a rule can leave such a matrix as it is."""
    source, out, rules = tmp_path / "model", tmp_path / "out", tmp_path / "rules.json"
    name = "model.layers.0.mlp.down_proj.weight"
    write_checkpoint(source, MODEL, SMALL_MODELS[MODEL], dtype, {name: 1e-7})
    refused = quantize(source, "-o", out, "--dtype", *flags)
    assert refused.returncode == 2
    assert f'"{name}" holds numbers too small for {flags[0]}, whose scales are float16' in refused.stderr
    assert not out.exists() and not out.with_name("out.partial").exists()
    rules.write_text(json.dumps([{"key": re.escape(name), "dtype": "auto"}]))
    assert quantize(source, "-o", out, "--dtype", *flags, "--dtype_config", rules).returncode == 0
    shutil.rmtree(source)
    write_checkpoint(source, MODEL, SMALL_MODELS[MODEL], dtype, {name: 0.0})
    assert quantize(source, "-o", out, "--dtype", *flags, "--force").returncode == 0


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("--dtype", "int5"), "--dtype: int4, int4g, int4g128"),
        (("--dtype", "bfloat16"), "q6_k or q8_0 is expected, not 'bfloat16'"),
        (("--method", "awq"), "--method: best, gptq, imatrix, mse or rtn is expected, not 'awq'"),
        (("--format", "onnx"), "--format: compressed_tensors, gguf, imatrix or packed is expected, not 'onnx'"),
        (("--max_shard_size", "large"), "a size such as 500M, 4GB or 2GiB is expected, not 'large'"),
        (("--custom", "no.py"), "no.py"),
        (("-o", "no/such/folder"), "no/such is no folder: make it first, or name another -o."),
        (("-o", "/proc/out"), "/proc"),
        (("-o", ""), "-o '' is no name for a new folder or file."),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(model: Path, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = quantize(model, "-o", tmp_path / "out", "--dtype", "int4g32", *arguments)
    assert done.returncode == 2 and done.stdout == "" and says in sentence(done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_quantized_model_and_a_folder_without_a_model(model: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    quantized = model.parent / "whole"
    done = quantize(quantized, "-o", tmp_path / "out")
    assert done.returncode == 2 and sentence(done.stderr) == (
        f"{quantized} is quantized already (compressed-tensors): name the float model that it was made from."
    )
    assert quantize(tmp_path, "-o", tmp_path / "out").returncode == 2
    missing = "-o is missing: name the folder or the .gguf file to make, or ask for --dry_run."
    assert quantize(model).stderr == f"error: {missing}\n"

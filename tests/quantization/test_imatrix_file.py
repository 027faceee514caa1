"""llama.cpp's files of importance, in both of their forms, and quantizing by one."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.checkpoint.gguf.file import read_gguf
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.errors import UsageError
from ftllm_nb.loading import describe
from ftllm_nb.quantization.calibration.text import read_windows
from ftllm_nb.quantization.calibration.walk import capture
from ftllm_nb.quantization.gguf.imatrix_file import read_imatrix
from tests.gguf_files import floats, gguf_bytes
from tests.quantization.test_command import DEMO, quantize

VALUES = {"blk.0.attn_q.weight": np.arange(4, dtype=np.float32), "blk.0.ffn_down.weight": np.ones(6, np.float32)}


def older(values: dict[str, np.ndarray], passes: int = 2) -> bytes:
    """Sums of so many passes."""
    content = struct.pack("<i", len(values))
    for name, each in values.items():
        content += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", passes, len(each))
        content += (passes * each).astype("<f4").tobytes()
    return content + struct.pack("<i", passes) + struct.pack("<i", 4) + b"text"


def test_the_older_form(tmp_path: Path) -> None:
    file = tmp_path / "a.imatrix"
    file.write_bytes(older(VALUES))
    found = read_imatrix(file)
    assert found.keys() == VALUES.keys()
    for name, values in VALUES.items():
        np.testing.assert_array_equal(found[name], values)


def test_the_newer_form(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    tensors = {}
    for name, values in VALUES.items():
        tensors[f"{name}.in_sum2"] = floats((3 * values).reshape(1, -1))
        tensors[f"{name}.counts"] = floats([[3.0]])
    file.write_bytes(gguf_bytes({"general.type": "imatrix"}, tensors))
    found = read_imatrix(file)
    for name, values in VALUES.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(
    "content",
    [b"", b"GGUF", b"\x01\0\0\0\xff\xff\0\0", older(VALUES)[:60], older({"a": np.array([np.nan])})],
    ids=["empty", "cut off GGUF", "too long a name", "cut off", "NaN"],
)
def test_what_is_none_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.dat"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.dat is no importance matrix, as llama-imatrix writes them"):
        read_imatrix(file)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_imatrix(tmp_path / "none.dat")


def test_a_file_is_quantized_by_it(tmp_path: Path) -> None:
    plain, out, importance = tmp_path / "plain.gguf", tmp_path / "out.gguf", tmp_path / "a.imatrix"
    rules = tmp_path / "rules.json"
    rules.write_text('[{"key": "embed", "dtype": "bf16"}]')
    types = ("--dtype", "iq4_nl", "--dtype_config", rules)
    assert quantize("demo", "-o", plain, *types).returncode == 0
    shapes = {name: each.shape[-1] for name, each in read_gguf(plain).tensors.items() if len(each.shape) == 2}
    random = np.random.default_rng(0)
    values = {name: np.exp(4 * random.standard_normal(size)).astype(np.float32) for name, size in shapes.items()}
    del values["token_embd.weight"]
    importance.write_bytes(older(values))
    flags = (*types, "--method", "imatrix", "--calibration", importance)
    done = quantize("demo", "-o", out, *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert plain.stat().st_size == out.stat().st_size
    same = {name: np.array_equal(read_gguf(plain).bytes_of(name), read_gguf(out).bytes_of(name)) for name in shapes}
    assert same.pop("token_embd.weight") and not any(same.values())
    done = quantize("demo", "-o", out, "--force", *types, "--method", "gptq", "--calibration", importance)
    assert "gptq needs a text" in done.stderr and done.returncode == 2
    importance.write_bytes(older(VALUES))
    done = quantize("demo", "-o", out, "--force", *flags)
    assert "is the importance matrix of another model: it has " in done.stderr and done.returncode == 2


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this program writes of the demo model."""
    out = tmp_path_factory.mktemp("importance") / "demo.imatrix"
    done = quantize(DEMO, "-o", out, "--calibration_tokens", 1024)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{out}: importance of the inputs of 42 matrices, from 1,0" in done.stdout
    assert {path.name for path in out.parent.iterdir()} == {out.name}
    return out


def test_a_file_that_is_written_says_what_the_text_makes(own_file: Path) -> None:
    found = read_imatrix(own_file)
    with open_checkpoint(DEMO) as checkpoint:
        graph = describe(checkpoint)
        windows, _ = read_windows(checkpoint, graph, None, 1024)
        (layer,) = [
            captured
            for captured in capture(graph, checkpoint, windows, {"model.layers.0.mlp.down_proj.weight"}, products=False)
            if captured
        ]
    (moments,) = layer.values()
    np.testing.assert_allclose(found["blk.0.ffn_down.weight"], moments.mean_squares, rtol=1e-5)
    assert "output.weight" not in found and "token_embd.weight" not in found
    with closing(read_gguf(own_file)) as file:
        assert file.metadata["general.type"] == "imatrix" and file.metadata["imatrix.datasets"] == ["builtin"]
        assert file.metadata["imatrix.chunk_size"] == 512 and file.metadata["imatrix.chunk_count"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("out", ["out", "out.gguf"])
def test_a_file_stands_for_its_text(own_file: Path, tmp_path: Path, out: str) -> None:
    flags = ("--dtype", "q4_0" if "." in out else "int4g32", "--method", "imatrix")
    made = []
    for name, more in (("file", ("--calibration", own_file)), ("text", ("--calibration_tokens", 1024))):
        place = tmp_path / name / out
        place.parent.mkdir()
        done = quantize(DEMO, "-o", place, *flags, *more, "-t", 1)
        assert (done.returncode, done.stderr) == (0, "")
        with open_checkpoint(place) as checkpoint:
            made.append(read_float32(checkpoint, "model.layers.3.mlp.up_proj.weight"))
    one, other = made
    assert (one != other).mean() < 1e-3, "sums are float32 in the file"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("-o", "{tmp}/x.imatrix", "--dtype", "int4"), "a file of importance has no types and no methods"),
        (("-o", "{tmp}/x.imatrix", "--method", "gptq"), "a file of importance has no types and no methods"),
        (("-o", "{tmp}/x.imatrix", "--resume"), "--resume is not for files of importance"),
        (("-o", "{tmp}/x.txt", "--format", "imatrix"), "it must end in .imatrix or .dat or .gguf"),
        (("-o", "{tmp}/none/x.imatrix"), "is no folder: make it first"),
        (("-o", "{tmp}/x.imatrix", "--calibration", "{own}"), "is importance already"),
        (("-o", "{own}",), "exists: name another -o"),
        (("-o", "{tmp}/x", "--bits", "5", "--method", "imatrix", "--calibration", "{own}"), "--bits measures with a"),
        (("-o", "{tmp}/x", "--method", "gptq", "--calibration", "{own}"), "--method gptq needs a text"),
    ],
)
def test_what_files_of_importance_are_not_for(
    own_file: Path, tmp_path: Path, flags: tuple[str, ...], says: str
) -> None:
    done = quantize(DEMO, *(flag.format(tmp=tmp_path, own=own_file) for flag in flags))
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())

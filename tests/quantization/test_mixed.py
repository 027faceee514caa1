"""`--bits`: a type for each matrix, in every form of output, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftllm_nb import llm
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.quantization import calibrated, mixed
from ftllm_nb.quantization.calibration.moments import Moments
from tests.quantization.test_calibration import DEMO
from tests.quantization.test_command import quantize

FLAGS = ("--method", "imatrix", "--calibration_tokens", 1024, "-t", 2)
SLOW = pytest.mark.slow
"""Searches and products of a dozen types take a minute to compile."""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Any]]:
    """In place of what is measured: down projections count ten times as much. The windows of each time."""
    times: list[Sequence[Any]] = []

    def divergences(
        graph: Any, checkpoint: Any, windows: Sequence[Any], wanted: set[str], replace: Callable[..., Any], **_: Any
    ) -> dict[str, float]:
        times.append(windows)
        for name in wanted:
            weights = read_float32(checkpoint, name)
            moments = Moments(weights.shape[1], False, 1)
            moments.squares[:] = 1
            assert 0 < np.square(replace(name, weights, moments) - weights).mean() < 0.1 * weights.var()
        return {name: 10.0 if "down_proj" in name else 1.0 for name in wanted}

    monkeypatch.setattr(mixed, "divergences", divergences)
    return times


def types_of(folder: Path) -> dict[str, str]:
    """Those of the matrices of layers."""
    with open_checkpoint(folder) as checkpoint:
        return {name: str(info.dtype) for name, info in checkpoint.tensors.items() if "proj.weight" in name}


@SLOW
@pytest.mark.parametrize(
    ("out", "more", "bits"),
    [
        ("out.gguf", (), 5.2),
        ("out", ("--format", "packed", "--embedding_bits", 4.5), 5.2),
        ("out", (), 5.0),
    ],
    ids=["gguf", "packed", "compressed_tensors"],
)
def test_what_counts_more_has_more_bits(
    tmp_path: Path, measured: object, out: str, more: tuple[object, ...], bits: float
) -> None:
    done = quantize(DEMO, "-o", tmp_path / out, "--bits", bits, *more, *FLAGS)
    assert done.returncode == 0, done.stderr
    head, _, *lines = done.stdout.split("\n\n")[0].splitlines()
    assert head.split("|")[1].strip() == "type"
    whole = float(lines[-1].split("|")[4])
    assert bits - 0.05 < whole <= bits
    found = types_of(tmp_path / out)
    counts = Counter(found.values())
    assert len(counts) > 1
    assert done.stdout.splitlines()[-1].partition("bits a weight ")[2].startswith("with embeddings (")
    if (tmp_path / out).is_dir() and not more:
        assert "vLLM joins q, k and v, or gate and up" in done.stderr
        assert not {"int4g256_float16", "int8g256_float16"} & counts.keys(), "vLLM has no kernels for them"
    down, gate = (Counter(each for name, each in found.items() if kind in name) for kind in ("down_proj", "gate_proj"))
    assert down.most_common(1)[0][0] > gate.most_common(1)[0][0], "names rise with bits here"
    assert not list(tmp_path.glob(f"*{mixed.SUFFIX}"))
    with llm.model(str(tmp_path / out)) as model:
        assert model.response("What is 17 + 25?", temperature=0)
    if "packed" in more:
        with open_checkpoint(tmp_path / out) as checkpoint:
            assert str(checkpoint.tensors["model.embed_tokens.weight"].dtype) == "int4g32_float16"


@SLOW
def test_gguf_by_measuring(tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    done = quantize(DEMO, "-o", out, "--bits", 5, "--calibration_tokens", 2048)
    assert (done.returncode, done.stderr) == (0, "")
    losses = {line.split("|")[1].strip(): float(line.split("|")[5]) for line in done.stdout.splitlines()[2:6]}
    assert 0.001 < sum(losses.values()) < 0.02
    with llm.model(str(out)) as model:
        assert "42" in model.response("What is 17 + 25?", temperature=0)


@SLOW
@pytest.mark.parametrize(("out", "method"), [("out.gguf", "mse"), ("out", "rtn")])
def test_methods_without_a_text_have_types_that_were_measured_with_one(
    tmp_path: Path, measured: list[Sequence[Any]], out: str, method: str
) -> None:
    done = quantize(DEMO, "-o", tmp_path / out, "--bits", 5, "--method", method, "--calibration_tokens", 1024, "-t", 2)
    assert done.returncode == 0 and len(measured) == 1, done.stderr
    found = types_of(tmp_path / out)
    assert len(set(found.values())) > 1
    name, dtype = next(pair for pair in found.items() if "gate_proj" in pair[0])
    alone = tmp_path / f"alone-{out}"
    plain = dtype.partition("_float16")[0].lower()
    assert quantize(DEMO, "-o", alone, "--dtype", plain, "--method", method, "-t", 2).returncode == 0
    with open_checkpoint(tmp_path / out) as one, open_checkpoint(alone) as other:
        np.testing.assert_array_equal(read_float32(one, name), read_float32(other, name))


def test_nothing_is_measured_for_a_place_that_is_taken(tmp_path: Path, measured: list[object]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    for more in ((), ("--force",)):
        done = quantize(DEMO, "-o", tmp_path / "out", "--bits", 5, *FLAGS, *more)
        assert done.returncode == 2 and str(tmp_path / "out") in done.stderr and not measured


@SLOW
def test_rules_come_before_what_is_chosen(tmp_path: Path, measured: object) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"key": "down_proj", "dtype": "q8_0"}]))
    done = quantize(DEMO, "-o", tmp_path / "x.gguf", "--bits", 4.5, "--dtype_config", rules, *FLAGS, "--dry_run")
    table = done.stdout.split("\n\n")[1].splitlines()
    assert {line.split("|")[4].strip() for line in table if "ffn_down" in line} == {"q8_0"}
    assert "| 36 |" in done.stdout.split("\n\n")[0].replace("       ", " ").replace("  ", " ").replace("  ", " ")


def test_a_stopped_run_goes_on_with_its_choice(
    tmp_path: Path, measured: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    out, flags = tmp_path / "out", ("--bits", 5, *FLAGS)
    with monkeypatch.context() as patch:
        patch.setattr(calibrated, "capture", stopped)
        assert quantize(DEMO, "-o", out, *flags).returncode == 130
    assert len(measured) == 1 and len(list(tmp_path.glob(f"*{mixed.SUFFIX}"))) == 1
    assert quantize(DEMO, "-o", out, *flags, "--resume").returncode == 0
    assert len(measured) == 1 and {path.name for path in tmp_path.iterdir()} == {"out"}
    assert quantize(DEMO, "-o", tmp_path / "again", *flags).returncode == 0
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("out", "again"))
    assert one == other and len(measured) == 2


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--bits", 3.5), "--bits 3.5 cannot be: the smallest types that fit the model's matrices take 4.0"),
        (("--bits", 3.5, "--format", "packed", "--asymmetric"), "--bits 3.5 cannot be: the smallest types that"),
        (("--bits", 40), "--bits 40 cannot be: the largest types that fit the model's matrices take 8."),
        (("--bits", 4.5, "--dtype", "int4"), "--bits chooses the types that --dtype would name"),
        (("--embedding_bits", 6), "--embedding_bits goes with --bits"),
        (("--bits", 5, "--embedding_bits", 6), "--embedding_bits is not for --format compressed_tensors"),
        (("--bits", 5, "--embedding_bits", 3, "--format", "packed"), "--embedding_bits 3 cannot be: the smallest type"),
        (("--bits", "many"), "a number above 0 is expected, not 'many'"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, flags: tuple[object, ...], says: str) -> None:
    done = quantize(DEMO, "-o", tmp_path / "out", *flags)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())

"""`bench --profile`, --batch and --depth on the bundled model, as a user starts them."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from importlib.resources import files
from pathlib import Path

import pytest

from ftllm_nb.benchmark import run
from ftllm_nb.benchmark.limits import MachineLimits
from ftllm_nb.benchmark.profile import _name, _operator_share
from ftllm_nb.benchmark.speed_test import SpeedTest
from ftllm_nb.cli.entry import main
from ftllm_nb.graph.ir import Value
from ftllm_nb.graph.program import RowLabel
from ftllm_nb.graph.types import TensorType
from ftllm_nb.quant.base import WeightFormat, weight_format
from ftllm_nb.quant.blocks import BlockFormat

SMALL = ["bench", "-p", "20", "-n", "4", "-r", "1", "-t", "2"]


@pytest.fixture
def known_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that take no time to measure."""
    limits = MachineLimits(threads=2, read_bytes=1, read_gb_per_s=10.0, fma_gflop_per_s=100.0, dot_gop_per_s=50.0)
    monkeypatch.setattr(run, "measure_limits", lambda threads, size: limits)


def test_profile_accounts_for_the_whole_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "profile.svg"
    assert main([*SMALL, "--dtype", "int8", "--profile", "--json", "--svg", str(picture)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["machine"]["threads"], report["model"]["dtype"]) == (2, "int8")
    prefill, decode = report["profiles"]
    assert (prefill["test"], decode["test"]) == ("pp20", "tg4")
    for profile in (prefill, decode):
        for shares in (profile["by_operator"], profile["by_layer"]):
            assert sum(share["share"] for share in shares) == pytest.approx(1)
            assert sum(share["seconds"] for share in shares) == pytest.approx(profile["seconds"])
        assert [share["name"] for share in profile["by_layer"]][:3] == ["outside of layers", "layer 0", "layer 1"]
    linear = next(share for share in decode["by_operator"] if share["name"] == "Linear 768 × 256 int8")
    assert linear["rate"].endswith("GB/s")
    assert linear["limit"].endswith("of read")
    attention = next(share for share in prefill["by_operator"] if share["name"] == "RotaryAttention")
    config = json.loads((files("ftllm_nb") / "demo" / "config.json").read_text())
    operations = 2 * 2 * config["hidden_size"] * config["num_hidden_layers"] * sum(range(1, 21))
    rate, unit = attention["rate"].split()
    assert unit == "GFLOP/s" and float(rate) == pytest.approx(operations / attention["seconds"] / 1e9, rel=0.2, abs=0.1)
    assert attention["limit"].endswith("of fma")
    texts = [element.text or "" for element in ElementTree.parse(picture).iter() if element.tag.endswith("text")]
    for profile in (prefill, decode):
        assert any(text.startswith(f"{profile['test']}: a step of") for text in texts)
        for share in profile["by_operator"]:
            assert f"{share['name']} ({share['count']})" in texts


@pytest.mark.parametrize(
    ("dtype", "dot_peak", "unit", "limit"),
    [
        ("int8", 50.0, "GOP/s", "of dot"),
        ("int4g32", 50.0, "GOP/s", "of dot"),
        ("int8", None, "GOP/s", ""),  # a tier without products of bytes
        ("bfloat16", 50.0, "GFLOP/s", "of fma"),
    ],
)
def test_units_and_limits_are_those_of_the_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    dtype: str, dot_peak: float | None, unit: str, limit: str,
) -> None:  # fmt: skip
    limits = MachineLimits(threads=2, read_bytes=1, read_gb_per_s=10.0, fma_gflop_per_s=100.0, dot_gop_per_s=dot_peak)
    monkeypatch.setattr(run, "measure_limits", lambda threads, size: limits)
    assert main(["bench", "-p", "20", "-n", "0", "-t", "2", "--dtype", dtype, "--profile", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (profile,) = report["profiles"]
    linear = next(share for share in profile["by_operator"] if share["name"] == f"Linear 768 × 256 {dtype}")
    rate, printed_unit = linear["rate"].split()
    operations = 2 * 20 * 768 * 256 * linear["count"]
    assert printed_unit == unit
    assert float(rate) == pytest.approx(operations / linear["seconds"] / 1e9, abs=0.06)
    if not limit:
        assert linear["limit"] == ""
        return
    share, of = linear["limit"].split("% ")
    assert of == limit
    assert float(share) == pytest.approx(100 * float(rate) / (100.0 if limit == "of fma" else 50.0), abs=0.2)


@pytest.mark.parametrize(
    ("format", "shape", "name", "decode", "prefill"),
    [
        (weight_format("float16"), (3, 20, 64), "P 64 × 60 float16", "12.3 GB/s", "76.8 GFLOP/s"),  # 2 blocks a matrix
        (BlockFormat("Q4_K"), (32, 256), "P 256 × 32 Q4_K", "4.6 GB/s", "163.8 GOP/s"),
    ],
    ids=["stack", "blocks"],
)
def test_stacks_of_matrices_and_ggmls_blocks_are_counted_as_they_are(
    format: WeightFormat, shape: tuple[int, ...], name: str, decode: str, prefill: str
) -> None:
    limits = MachineLimits(threads=2, read_bytes=1, read_gb_per_s=10.0, fma_gflop_per_s=100.0, dot_gop_per_s=50.0)
    label = RowLabel("P", (Value("w", TensorType(shape), "weight"),), 0, is_product=True)
    format_of = lambda weight: format  # noqa: E731
    assert _name(label, format_of) == name
    for test, tokens, expected in ((SpeedTest(True, 1), 1, decode), (SpeedTest(False, 10), 10, prefill)):
        share = _operator_share(name, [(label, 1e-6)], 1.0, test, tokens, format_of, limits)
        assert share.rate == expected


def test_of_a_mixture_only_what_a_token_is_multiplied_by_is_counted() -> None:
    limits = MachineLimits(threads=2, read_bytes=1, read_gb_per_s=10.0, fma_gflop_per_s=100.0, dot_gop_per_s=50.0)
    experts = tuple(Value(f"w.{number}", TensorType((32, 64)), "weight") for number in range(8))
    label = RowLabel("P", experts, 0, is_product=True, share=0.25)
    format_of = lambda weight: weight_format("float16")  # noqa: E731
    assert _name(label, format_of) == "P 64 × 64 float16"
    for test, tokens, expected in ((SpeedTest(True, 1), 1, "8.2 GB/s"), (SpeedTest(False, 10), 10, "81.9 GFLOP/s")):
        share = _operator_share("P", [(label, 1e-6)], 1.0, test, tokens, format_of, limits)
        assert share.rate == expected


def test_profile_as_tables(known_limits: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--profile"]) == 0
    printed = capsys.readouterr().out
    assert "pp20: a step of" in printed
    assert "limits: read" in printed and "\ndemo, bfloat16, 10.02 MiB\n" in printed
    assert "| operator" in printed
    assert "| layer 5" in printed


@pytest.mark.parametrize("more", [[], ["--profile"]])
@pytest.mark.parametrize("key", ["nowhere", "norm"])
def test_rules_that_name_no_matrix_are_told(
    known_limits: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], key: str
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"key": key, "dtype": "int8"}]))
    assert main([*SMALL, *more, "--dtype_config", str(rules)]) == 0
    assert f'no matrix has a name in which the rule {{"key": "{key}", "dtype": "int8"}}' in capsys.readouterr().err


def test_batch_and_depth_are_in_names_and_objects_also_on_pinned_threads(
    known_limits: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--batch", "3", "--depth", "70", "--pin", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [result["test"] for result in results] == ["pp20 @ d70", "tg4 @ b3 @ d70"]
    assert [(result["batch"], result["depth"]) for result in results] == [(1, 70), (3, 70)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--svg", "x.svg"], "what is drawn is a profile: add --profile."),
        (["--profile", "--plot", "x.jpeg"], "x.jpeg cannot be drawn: its name must end in .svg, .png, .pdf."),
        (["--profile", "--engine", "reference"], "--profile looks into the compiled engine"),
        (["--profile", "--svg", "/no/such/folder/x.svg"], "the picture /no/such/folder/x.svg cannot be written"),
        (["--depth", "100000"], "needs a context of 100020 tokens"),
    ],
)
def test_bad_usage(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *arguments]) == 2
    errors = capsys.readouterr().err
    assert expected in errors
    assert "Traceback" not in errors

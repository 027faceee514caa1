"""The benchmark's two outputs: an object of a fixed form, and a table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ftllm_nb.benchmark.limits import MachineLimits
from ftllm_nb.benchmark.report import Report, as_json, as_table
from ftllm_nb.benchmark.speed_test import SpeedTest
from ftllm_nb.benchmark.workload import LinearWeight, ModelSize

WEIGHTS = (
    LinearWeight(1000, 1000, packed_bytes=2_000_000, for_logits=False),
    LinearWeight(500, 1000, packed_bytes=1_000_000, for_logits=True),
)


def report(dot_before: float | None = 1000.0, read_after: float = 0.31, dtype: str = "bfloat16") -> Report:
    return Report(
        cpu="A CPU",
        tier="avx512",
        model="tiny",
        size=ModelSize(parameters=1_500_000, weight_bytes=3_000_000, dtype=dtype, linear_weights=WEIGHTS),
        max_step_tokens=512,
        before=MachineLimits(2, 3_000_000, 0.29, 64.0, dot_before),
        after=MachineLimits(2, 3_000_000, read_after, 64.0, dot_before),
        tests=[
            SpeedTest(is_decode=False, tokens=512, seconds=[0.02, 0.02]),
            SpeedTest(is_decode=True, tokens=64, seconds=[0.64, 0.8]),
        ],
    )


def test_the_object_has_exactly_these_keys() -> None:
    found = json.loads(json.dumps(as_json(report())))
    assert list(found) == ["machine", "model", "results"]
    assert list(found["machine"]) == [
        "cpu", "tier", "threads", "read_gb_per_s", "fma_gflop_per_s", "dot_gop_per_s",
    ]  # fmt: skip
    assert found["model"] == {
        "name": "tiny",
        "bytes": 3_000_000,
        "parameters": 1_500_000,
        "dtype": "bfloat16",
    }
    for result in found["results"]:
        assert list(result) == [
            "test", "batch", "depth", "tokens_per_s", "stddev", "gb_per_s", "gop_per_s", "share_of_limit",
        ]  # fmt: skip


def test_the_numbers_are_means_and_shares_of_the_nearer_limit() -> None:
    found = as_json(report())
    assert found["machine"] == {
        "cpu": "A CPU",
        "tier": "avx512",
        "threads": 2,
        "read_gb_per_s": pytest.approx(0.30),
        "fma_gflop_per_s": 64.0,
        "dot_gop_per_s": 1000.0,
    }
    prompt, decode = found["results"]
    assert (prompt["test"], decode["test"]) == ("pp512", "tg64")
    assert prompt["tokens_per_s"] == pytest.approx(25_600) and prompt["stddev"] == pytest.approx(0)
    assert prompt["gop_per_s"] == pytest.approx((512 * 2e6 + 1e6) / 0.02 / 1e9)
    assert prompt["share_of_limit"] == pytest.approx(prompt["gop_per_s"] / 64)
    assert decode["tokens_per_s"] == pytest.approx(90)
    assert decode["stddev"] == pytest.approx(200**0.5)
    assert decode["gb_per_s"] == pytest.approx(90 * 3e6 / 1e9)
    assert decode["share_of_limit"] == pytest.approx(0.9)


def test_a_machine_without_dot_products_says_null() -> None:
    found = json.loads(json.dumps(as_json(report(dot_before=None))))
    assert found["machine"]["dot_gop_per_s"] is None
    assert "dot none" in as_table(report(dot_before=None))


def test_integer_formats_are_compared_with_the_dot_product_peak() -> None:
    prompt = as_json(report(dot_before=60.0, dtype="int8"))["results"][0]
    assert prompt["share_of_limit"] == pytest.approx(prompt["gop_per_s"] / 60)
    without = as_json(report(dot_before=None, dtype="int8"))["results"]
    assert without[0]["share_of_limit"] is None and without[1]["share_of_limit"] == pytest.approx(0.9)
    assert " - |" in as_table(report(dot_before=None, dtype="int8"))


def test_the_table_has_a_line_a_test_and_straight_columns() -> None:
    lines = as_table(report()).splitlines()
    assert lines[0] == "A CPU, tier avx512, threads 2"
    assert lines[1].startswith("limits: read 0.3 GB/s over 2.86 MiB, fma 64.0 GFLOP/s")
    table = lines[3:]
    assert len({len(line) for line in table}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells[0] == [
        "model",
        "size",
        "params",
        "dtype",
        "threads",
        "test",
        "tokens/s",
        "reached",
        "of limit",
    ]
    assert cells[2] == [
        "tiny", "2.86 MiB", "1.50 M", "bfloat16", "2", "pp512",
        "25600.00 ± 0.00", "51.2 GFLOP/s", "80.1% of fma",
    ]  # fmt: skip
    assert cells[3][5:] == ["tg64", "90.00 ± 14.14", "0.3 GB/s", "90.0% of read"]


def test_a_limit_that_drifted_is_told_with_both_measurements() -> None:
    assert report().drifts() == []
    (sentence,) = report(read_after=0.35).drifts()
    assert sentence.endswith("read bandwidth 0.29 GB/s before, 0.35 after.")


def test_a_peak_that_another_unit_may_pass_is_said_to_be_one() -> None:
    assert "1000.0 GOP/s int8; AMX may pass fma with bfloat16 and dot" in as_table(replace(report(), tier="amx"))
    assert "AMX may pass" not in as_table(replace(report(), tier="avx2"))

"""Kernels for AMX on CPUs without AMX: some tests of products once more, with its instructions done by Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ftllm_nb.kernels.tiers import TIERS, host_features, supported_tiers

ROOT = Path(__file__).parents[2]
AMX = next(tier for tier in TIERS if tier.name == "amx")


@pytest.mark.slow
@pytest.mark.skipif(AMX in supported_tiers(), reason="this CPU has AMX, which `make test` has tested")
@pytest.mark.skipif(
    any(name not in host_features() for name in AMX.required if not name.startswith("amx")),
    reason="the vector instructions around AMX's need AVX-512 with VNNI",
)
@pytest.mark.parametrize(
    ("tests", "chosen", "instructions"),
    [
        (
            ["tests/kernels/test_integer_matmul.py", "tests/kernels/test_repack_integers.py"],
            "(company or ends) and (int4g32 or int8g32 or int8z)",
            ["tdpbssd", "tdpbsud"],
        ),
        (
            ["tests/kernels/blocks/test_block_types.py"],
            "(company or ends) and (Q4_K or Q6_K or IQ4_XS)",
            ["tdpbssd", "tdpbsud"],
        ),
        (["tests/engine/test_golden.py"], "compiled and at_once and bfloat16", ["tdpbf16ps"]),
    ],
)
def test_products_on_emulated_tiles(tests: list[str], chosen: str, instructions: list[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "tests.kernels.amx_emulation", "-p", "no:xdist", "-k", chosen]
    result = subprocess.run([*command, *tests], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert all(f"'{instruction}': " in result.stdout for instruction in instructions), result.stdout

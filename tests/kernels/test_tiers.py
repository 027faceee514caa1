"""A forced tier decides what code is generated, whatever was imported first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ftllm_nb.kernels.tiers import supported_tiers

PRINT_CODE = """
import ftllm_nb.kernels.walk
from ftllm_nb.kernels.elementwise import silu_multiply
print(silu_multiply.assembly())
"""


def code(tier: str) -> str:
    """The machine code of a kernel of vectors, as text."""
    environment = {**os.environ, "FTLLM_NB_TIER": tier}
    result = subprocess.run(
        [sys.executable, "-c", PRINT_CODE], env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout


@pytest.mark.parametrize("tier", [tier.name for tier in supported_tiers() if tier.machine in ("", "x86_64")])
def test_code_uses_the_registers_of_the_tier(tier: str) -> None:
    text = code(tier)
    wide = tier in ("amx", "avx512vnni", "avx512")
    assert ("zmm" in text) == wide
    assert ("ymm" in text) or wide or tier == "generic"
    assert ("ymm" not in text) or tier != "generic"

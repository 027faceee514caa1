"""What a profile prints of recurrences: operations that are counted by hand, against the limit of multiply-adds."""

from __future__ import annotations

import pytest

from ftllm_nb.benchmark.limits import MachineLimits
from ftllm_nb.benchmark.profile import profile_test
from ftllm_nb.benchmark.speed_test import SpeedTest
from ftllm_nb.quant.base import weight_format
from tests.engine.test_recurrent_models import CONFIGS, opened

LIMITS = MachineLimits(1, 1, 1.0, fma_gflop_per_s=0.25, dot_gop_per_s=None)


@pytest.mark.parametrize(
    ("name", "operator", "operations"),
    [
        ("qwen3_5_text", "RecurrentGatedDeltaRule", 3 * 7 * 6 * 13 * 37),
        ("kimi_linear", "RecurrentGatedDeltaRule", 2 * 7 * 3 * 21 * 21),
        ("granitemoehybrid", "MambaScan", 3 * 5 * 11 * 120),
        ("lfm2", None, 0),
    ],
)
def test_rates_of_recurrences_at_any_depth_and_batch(name: str, operator: str | None, operations: int) -> None:
    """Three, two and three recurrent layers, of one or two rows each."""
    recurrent = ("RecurrentGatedDeltaRule", "MambaScan")
    with opened(CONFIGS[name]) as executor:
        for test, tokens in ((SpeedTest(True, 4, batch=2, depth=70), 2), (SpeedTest(False, 200), 200)):
            profile = profile_test(executor, test, lambda weight: weight_format("float32"), LIMITS)
            found = [share for share in profile.by_operator if share.name in recurrent]
            assert [share.name for share in found] == [operator] * bool(operator)
            for share in found:
                rate = operations * tokens / share.seconds / 1e9
                assert share.rate == f"{rate:.1f} GFLOP/s" and share.limit == f"{rate / 0.25:.1%} of fma"

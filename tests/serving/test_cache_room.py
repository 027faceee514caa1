"""How much memory the KV cache takes, and that it comes back."""

from __future__ import annotations

import time

import httpx
import pytest

from ftllm_nb.errors import UsageError
from ftllm_nb.serving.cache_room import default_bytes, limit_cache
from ftllm_nb.serving.options import ServerOptions
from tests.engine.paged_executor import PagedExecutor
from tests.serving.server_process import ServerProcess

GB = 1 << 30


@pytest.mark.parametrize("free, context, expected", [
    (16 * GB, 3 << 20, 2 * 32 * 3 << 20),  # a small model takes what its answers can need
    (16 * GB, 1 * GB, 4 * GB),  # a larger one leaves most of the machine
    (16 * GB, 6 * GB, 6 * GB),  # one conversation fits if it can
    (16 * GB, 20 * GB, 8 * GB),
    (0, 1 * GB, 0),
])
def test_the_default_leaves_room(free: int, context: int, expected: int) -> None:
    assert default_bytes(free, context, 32) == expected


def test_states_of_recurrent_layers_count() -> None:
    executor = PagedExecutor(has_state=True)
    cache = executor.cache
    assert limit_cache(executor, ServerOptions(kv_cache_bytes=10_000)) == 5_000 + 78 * 64
    assert cache.pool.limit == 5 and cache.states.memory.limit == 78
    for too_little, why in ((300, "too small for recurrent layers"), (1100, "less than one block of the cache")):
        with pytest.raises(UsageError, match=f"--kv_cache_limit allows too little: .*{why}"):
            limit_cache(executor, ServerOptions(kv_cache_bytes=too_little))
    alike = PagedExecutor()
    assert limit_cache(alike, ServerOptions(kv_cache_bytes=10_000)) == 10_000 and alike.cache.pool.limit == 10


@pytest.mark.slow
def test_memory_comes_back_when_nobody_asks() -> None:
    with ServerProcess("demo", "--kv_cache_idle", "1.5") as server, httpx.Client(base_url=server.url) as http:
        http.post("/v1/completions", json={"prompt": "warm up", "max_tokens": 1})
        for number in range(12):
            ids = [7 + (number * 31 + place * place) % 1900 for place in range(1000)]
            assert http.post("/v1/completions", json={"prompt": ids, "max_tokens": 1}, timeout=60).status_code == 200
        before, kept = server.memory_bytes(), server.metric("cache_bytes")
        assert kept > 20 << 20 and server.metric("cache_blocks_kept") > 0
        deadline = time.monotonic() + 20
        while server.metric("cache_bytes"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert server.metric("cache_blocks_kept") == 0
        # The memory that blocks were written to; the slabs' untouched rest was never taken.
        assert before - server.memory_bytes() > 15 << 20
        server.wait_for_log(lambda line: line.get("event") == "cache_released" and line["bytes"] == kept)
        answer = http.post("/v1/completions", json={"prompt": "The", "max_tokens": 1})
        assert answer.status_code == 200 and server.metric("cache_bytes") > 0
        assert any("KV cache up to" in line for line in server.lines)

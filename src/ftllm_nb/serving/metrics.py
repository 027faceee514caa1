"""What /metrics says, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ftllm_nb.engine.batching import BatchingEngine
from ftllm_nb.engine.request import Request

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """Counters and histograms of one server. `engine()`: the batching engine, None while the model loads."""

    def __init__(self, engine: Callable[[], BatchingEngine | None]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_EngineCollector(engine))
        self._requests = Counter(
            "ftllm_http_requests", "HTTP requests by route and status", ("route", "status"), registry=self._registry
        )
        self._first_token = self._histogram("time_to_first_token", "From arrival to the first token", _SECONDS)
        self._per_token = self._histogram("time_per_output_token", "Between tokens, averaged", _TOKEN_SECONDS)
        self._queue = self._histogram("queue_time", "From arrival to the first step", _SECONDS)
        self._whole = self._histogram("request_time", "From arrival to the answer's end", _SECONDS)
        self._ends = Counter(
            "ftllm_answers", "Answers by how they ended", ("reason",), registry=self._registry
        )

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"ftllm_{name}_seconds", text, buckets=buckets, registry=self._registry)

    def request_done(self, route: str, status: int) -> None:
        """Count an HTTP request."""
        self._requests.labels(route, str(status)).inc()

    def answer_done(self, request: Request, reason: str) -> None:
        """Count an answer, finished or not."""
        times = request.times
        self._ends.labels(reason).inc()
        if times.admitted is not None:
            self._queue.observe(times.admitted - times.arrived)
        if times.first_token is not None:
            self._first_token.observe(times.first_token - times.arrived)
            if times.ended is not None:
                self._whole.observe(times.ended - times.arrived)
                if request.answer_tokens > 1:
                    self._per_token.observe((times.ended - times.first_token) / (request.answer_tokens - 1))

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineCollector:
    """Reads the engine's own counts when it is asked."""

    def __init__(self, engine: Callable[[], BatchingEngine | None]) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client's collectors."""
        engine = self._engine()
        if engine is None:
            return
        counts, cache = engine.counts, engine.cache
        gauges = {
            "requests_running": ("Requests that are being answered", engine.num_running),
            "requests_waiting": ("Requests in the queue", engine.num_waiting),
            "cache_blocks_used": ("Blocks of the KV cache that requests hold", cache.used),
            "cache_blocks_kept": ("Blocks that are only kept for their prefix", cache.kept),
            "cache_bytes": ("Memory of the KV cache now", engine.cache_bytes),
            "state_bytes": ("Memory of recurrent layers' states now", engine.state_bytes),
            "cache_blocks_limit": ("Most blocks, used and kept", cache.limit or 0),
        }
        counters = {
            "steps": ("Steps of the engine", counts.steps),
            "prompt_tokens": ("Tokens of prompts", counts.prompt_tokens),
            "cached_tokens": ("Tokens of prompts that were found in the cache", counts.cached_tokens),
            "answer_tokens": ("Tokens of answers", counts.answer_tokens),
            "preemptions": ("Requests that gave their blocks back for a while", counts.preemptions),
            "cache_evictions": ("Kept blocks whose place was needed", cache.evicted),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"ftllm_{name}", text, value=value)
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"ftllm_{name}", text, value=value)

"""Requests that schemathesis makes from the OpenAPI document, right and wrong: never status 500, nothing leaked."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import hypothesis
import pytest

from tests.serving.server_process import ServerProcess

schemathesis = pytest.importorskip("schemathesis", reason="`make oracle` installs it")
EXAMPLES = 120
"""Of each route, right and wrong ones each."""


@pytest.mark.slow
def test_requests_from_the_openapi_document(server: ServerProcess) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:

            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            @hypothesis.settings(
                max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
                suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
            )  # fmt: skip
            def ask(case: schemathesis.Case) -> None:
                if isinstance(case.body, dict):
                    # An answer as long as the context would only take long.
                    case.body.setdefault("max_tokens", 2)
                response = case.call(timeout=60)
                statuses[response.status_code] += 1
                # 413: among the wrong bodies are some of several megabytes.
                known = (200, 400, 404, 405, 413, 415)
                assert response.status_code in known, (case.as_curl_command(), response.text)

            # A route without parameters has no wrong requests.
            with suppress(hypothesis.errors.Unsatisfiable):
                ask()
    assert statuses[200] > 0 and statuses[400] > 0 and statuses.total() > EXAMPLES, statuses
    server.wait_until_idle()

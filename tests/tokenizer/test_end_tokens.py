from __future__ import annotations

from typing import Any

import pytest

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.end_tokens import end_token_ids

IDS = {"</s>": 2, "<|im_end|>": 7, "<|eot_id|>": 9}


@pytest.mark.parametrize(
    ("config", "generation_config", "eos_token", "literals", "expected"),
    [
        ({}, {}, None, "", set()),
        ({"eos_token_id": 1}, {}, None, "", {1}),
        ({"eos_token_id": [1, 4]}, {"eos_token_id": 3}, None, "", {1, 3, 4}),
        ({}, {}, "</s>", "", {2}),
        ({}, {}, "<unheard>", "", set()),
        ({"eos_token_id": 2}, {}, "</s>", "{{ '<|im_end|>' }}", {2, 7}),
        ({"eos_token_id": None}, {"eos_token_id": [-1, 6]}, None, "<|end|>", {6}),
    ],
)
def test_union(
    config: dict[str, Any],
    generation_config: dict[str, Any],
    eos_token: str | None,
    literals: str,
    expected: set[int],
) -> None:
    assert end_token_ids(config, generation_config, eos_token, literals, IDS.get) == expected


@pytest.mark.parametrize("value", ["2", True, 2.0, [2, "5"], [[2]], {"id": 2}])
def test_what_is_no_id_is_refused(value: Any) -> None:
    """Passed over, answers would not end."""
    for where, configs in (("config.json", ({"eos_token_id": value}, {})),
                           ("generation_config.json", ({}, {"eos_token_id": value}))):  # fmt: skip
        with pytest.raises(TokenizerError, match=rf"^{where}: eos_token_id must be a token's id or a list of ids"):
            end_token_ids(*configs, None, "", IDS.get)

"""Random walks: whatever an answer is allowed to be, its calls follow the schemas."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.serving.strict_model import IN_TAGS, KINDS, Written, spelled


@pytest.mark.slow
@pytest.mark.parametrize("family, are_tokens", [*KINDS, *IN_TAGS])
def test_whatever_is_allowed_follows_the_schema(tmp_path: Path, family: str, are_tokens: bool) -> None:
    """Walks that want to write calls, right and wrong ones, and pieces of them, and take what they may."""
    rng = random.Random(family)
    model = Written(tmp_path / "puppet", family, are_tokens)
    wishes = [
        spelled(model, opening, name, arguments)
        for opening in model.style.family.openings(model.style.tags)
        for name in ("get_weather", "get_time", "other")
        for arguments in ('{"city": "Paris"}', '{"city": 5}', '{"zone": 1}', '{"days": "x"}', "{}", "[]")
    ] + [
        '{"parameters": {"city": 5}, "name": "get_weather"}', "{'name': 'get_weather', 'arguments': {'city': 5}}",
        '{"function": {"name": "get_weather", "arguments": {"city": 5}}}', "[get_weather(city=5)]", "[\n{\n", '"', "{",
        '\n[{"name": "get_weather", "parameters": {"city": 5}}]', "to=functions.get_time", "<think>", "</think>",
        '\n{"a": 1}\n',
    ]  # fmt: skip
    texts = [model.texts.of(token_id) for token_id in range(model.texts.size)]
    kinds = {"get_weather": {"city": str, "days": int}, "get_time": {"zone": str}}
    whole = 0
    for _ in range(15):
        constraint = model.constraint()
        ids: list[int] = []
        wish = ""
        while len(ids) < 160:
            wish = wish or "".join(map(model.texts.of, model.tokenizer.encode_prompt(rng.choice(wishes))))
            allowed = constraint.allowed(1000)
            may = list(range(len(texts))) if allowed is None else allowed.tolist()
            wanted = [token_id for token_id in may if texts[token_id] and wish.startswith(texts[token_id])]
            strays = not wanted or rng.random() < 0.02
            token_id = rng.choice([each for each in may if texts[each]] if strays else wanted)
            wish = wish[1 + (rng.random() < 0.2) * len(wish) :] if strays else wish.removeprefix(texts[token_id])
            constraint.accept(token_id)
            ids.append(token_id)
        for name, arguments in model.read(ids, is_cut=True):
            whole += 1
            written = "".join(texts[each] for each in ids)
            if name in kinds:
                assert all(type(value) is kinds[name][key] for key, value in arguments.items()), written
    assert whole > 3

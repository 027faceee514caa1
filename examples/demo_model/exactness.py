"""Exact-answer rates of a network in PyTorch, many questions at once.

An answer whose every token is the likeliest one, given the right tokens before it, is what greedy decoding
gives: one pass over question and answer grades it, without decoding.
"""

from __future__ import annotations

import torch
from batches import Encoder, collate
from corpus import Check
from network import Network

CHECKS_PER_PASS = 200


def failed_checks(network: Network, encoder: Encoder, checks: list[Check]) -> list[Check]:
    """The checks that are not answered exactly, in float32 with weights rounded to bfloat16."""
    rounded = Network(network.config)
    rounded.load_state_dict({name: w.bfloat16().float() for name, w in network.state_dict().items()})
    failed = []
    for first in range(0, len(checks), CHECKS_PER_PASS):
        some = checks[first : first + CHECKS_PER_PASS]
        documents = [
            encoder.document([*c.messages, {"role": "assistant", "content": c.answer}], [len(c.messages)])
            for c in some
        ]
        batch = collate(documents)
        with torch.no_grad():
            likeliest = rounded(batch.ids, batch.positions, batch.groups, batch.wanted).argmax(-1)
        failed += [some[index] for index in sorted(set(batch.documents[likeliest != batch.targets].tolist()))]
    return failed


def rates_by_skill(checks: list[Check], failed: list[Check]) -> dict[str, float]:
    """The share of each skill's checks that did not fail."""
    asked, wrong = [check.skill for check in checks], [check.skill for check in failed]
    return {skill: 1 - wrong.count(skill) / asked.count(skill) for skill in dict.fromkeys(asked)}

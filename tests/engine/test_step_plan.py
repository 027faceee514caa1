"""A step's header: whose token lies where, which place of the cache it goes to, and how attention is shared out."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.step_plan import StepPlan
from ftllm_nb.kernels import step as fields
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, SPAN_BLOCKS, SPAN_POSITIONS

Words = NDArray[np.int64]
GROUPS = 3


class Planned(NamedTuple):
    """What one sequence brings: how long it is, how many tokens come, whether its logits are wanted."""

    start: int
    tokens: int
    wants_logits: bool


sequences = st.builds(
    Planned,
    st.one_of(st.integers(0, 5), st.integers(0, 9 * BLOCK_POSITIONS), st.just(BLOCK_POSITIONS - 1)),
    st.one_of(st.just(1), st.integers(1, 200)),
    st.booleans(),
)


def words(address: int, rows: int, columns: int) -> Words:
    """The int64 [rows, columns] at an address."""
    memory = (ctypes.c_int64 * int(rows * columns)).from_address(int(address)) if rows else []
    return np.array(memory, np.int64).reshape(rows, columns)


@settings(max_examples=80, deadline=None)
@given(st.lists(sequences, min_size=1, max_size=6), st.integers(1, 60), st.integers(1, 7))
def test_every_token_is_where_it_belongs_and_attends_once(
    planned: list[Planned], tile_tokens: int, partial_floats: int
) -> None:
    steps, next_block = [], 1000
    for number, each in enumerate(planned):
        sequence = CachedSequence(GROUPS)
        sequence.length = each.start
        count = -(-(each.start + each.tokens) // BLOCK_POSITIONS) + number % 2  # at times one more than is needed
        for group in range(GROUPS):
            sequence.tables[group] = np.arange(next_block, next_block + count, dtype=np.int64)
            next_block += count
        ids = np.arange(each.tokens, dtype=np.int32) + 1000 * number
        steps.append(SequenceStep(sequence, ids, each.wants_logits))
    plan = StepPlan(steps, tile_tokens, partial_floats)
    header, tokens = plan.header, sum(each.tokens for each in planned)

    ids = np.concatenate([step.token_ids for step in steps])
    positions = [each.start + i for each in planned for i in range(each.tokens)]
    owners = [number for number, each in enumerate(planned) for _ in range(each.tokens)]
    blocks = [
        [
            steps[owner].sequence.tables[group][at // BLOCK_POSITIONS]
            for owner, at in zip(owners, positions, strict=True)
        ]
        for group in range(GROUPS)
    ]
    ends = np.cumsum([each.tokens for each in planned])
    firsts = ends - [each.tokens for each in planned]

    assert header[fields.STEP_TOKENS] == tokens
    np.testing.assert_array_equal(plan.token_ids, ids)
    np.testing.assert_array_equal(plan.positions, positions)
    np.testing.assert_array_equal(plan.seq_lens, [each.tokens for each in planned])
    assert header[fields.STEP_TOKEN_IDS] == plan.token_ids.ctypes.data
    assert header[fields.STEP_POSITIONS] == plan.positions.ctypes.data
    np.testing.assert_array_equal(words(header[fields.STEP_SLOTS], GROUPS, tokens), blocks)
    wanted = [end - 1 for end, each in zip(ends, planned, strict=True) if each.wants_logits]
    np.testing.assert_array_equal(plan.row_tokens, wanted)
    assert header[fields.STEP_ROWS] == len(wanted)

    table = words(header[fields.STEP_SEQUENCES], len(planned), fields.SEQUENCE_FIELDS)
    for row, step, first, each in zip(table, steps, firsts, planned, strict=True):
        assert row[1:].tolist() == [first, each.start, each.start + each.tokens]
        addresses = [table.ctypes.data for table in step.sequence.tables]
        assert words(row[0], 1, GROUPS)[0].tolist() == addresses

    attended = np.zeros(tokens, int)
    tiles = words(header[fields.STEP_TILES], header[fields.STEP_NUM_TILES], fields.TILE_FIELDS)
    for index, first, count in tiles[:, :3]:
        assert 1 <= count <= tile_tokens and planned[index].tokens > 1
        assert firsts[index] <= first and first + count <= ends[index]
        attended[first : first + count] += 1

    partials: dict[int, list[int]] = {}
    splits = words(header[fields.STEP_SPLITS], header[fields.STEP_NUM_SPLITS], fields.SPLIT_FIELDS)
    merges = merges_of(header)
    for index, token, first_block, partial in splits:
        assert planned[index].tokens == 1 and token == firsts[index] and first_block % SPAN_BLOCKS == 0
        partials.setdefault(int(token), []).append(int(first_block) // SPAN_BLOCKS)
        assert partial == merges[int(token)][1] + first_block // SPAN_BLOCKS
    places: list[int] = []
    for token, (count, partial) in merges.items():
        assert partials[token] == list(range(count)), "each span once, in order"
        assert count == -(-(positions[token] + 1) // SPAN_POSITIONS)
        attended[token] += 1
        places.extend(range(partial, partial + count))
    assert (attended == 1).all()
    assert sorted(places) == list(range(len(places))), "partial results lie side by side and apart"


def merges_of(header: Words) -> dict[int, tuple[int, int]]:
    """Spans and first partial result of each single token."""
    table = words(header[fields.STEP_MERGES], header[fields.STEP_NUM_MERGES], fields.MERGE_FIELDS)
    return {int(token): (int(count), int(partial)) for token, count, partial, _ in table}

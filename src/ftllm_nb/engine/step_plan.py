"""A step's header: what the kernels need to know of its tokens and sequences, as arrays of addresses and sizes.

The attention's work is laid out here: sequences with several tokens are cut into tiles of tokens, single tokens
into spans of their positions, so that a long context is shared by all workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.state_memory import StateSlot
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, SPAN_BLOCKS
from ftllm_nb.kernels.step import (
    MERGE_FIELDS,
    SEQUENCE_FIELDS,
    SPLIT_FIELDS,
    STEP_FIELDS,
    STEP_MERGES,
    STEP_NUM_MERGES,
    STEP_NUM_SEQUENCES,
    STEP_NUM_SPLITS,
    STEP_NUM_TILES,
    STEP_PARTIALS,
    STEP_POSITIONS,
    STEP_ROW_TOKENS,
    STEP_ROWS,
    STEP_SEQUENCES,
    STEP_SLOTS,
    STEP_SPLITS,
    STEP_STATES,
    STEP_TILES,
    STEP_TOKEN_IDS,
    STEP_TOKENS,
    TILE_FIELDS,
)
from ftllm_nb.memory import aligned_bytes

Words = NDArray[np.int64]


class StepPlan:
    """The header of one step, and the arrays that it points to. Sequences must have their blocks already.

    `tile_tokens`: most tokens of an attention tile; `partial_floats`: floats of a token's partial results for a
    span; `new_states`: of each sequence, where kernels write its states, by its length then.
    """

    def __init__(
        self,
        steps: list[SequenceStep],
        tile_tokens: int,
        partial_floats: int,
        new_states: Sequence[Mapping[int, StateSlot]] = (),
    ) -> None:
        counts = [len(step.token_ids) for step in steps]
        first_tokens = np.concatenate(([0], np.cumsum(counts)))
        self.token_ids = np.concatenate([step.token_ids for step in steps]).astype(np.int32)
        self.positions = np.empty(len(self.token_ids), np.int32)
        groups = len(steps[0].sequence.tables)
        slots = np.empty((groups, len(self.token_ids)), np.int64)
        tables = np.empty((len(steps), groups), np.int64)
        sequences, tiles, splits, merges = [], [], [], []
        partial_spans = 0
        for index, (step, count) in enumerate(zip(steps, counts, strict=True)):
            sequence: CachedSequence = step.sequence
            first, start = int(first_tokens[index]), sequence.length
            length = start + count
            rows = slice(first, first + count)
            self.positions[rows] = np.arange(start, length)
            numbers = self.positions[rows] // BLOCK_POSITIONS
            for group, table in enumerate(sequence.tables):
                slots[group, rows] = table[numbers]
                tables[index, group] = table.ctypes.data
            sequences.append((tables[index].ctypes.data, first, start, length))
            if count == 1:
                blocks = -(-length // BLOCK_POSITIONS)
                spans = -(-blocks // SPAN_BLOCKS)
                splits += [(index, first, span * SPAN_BLOCKS, partial_spans + span) for span in range(spans)]
                merges.append((first, spans, partial_spans))
                partial_spans += spans
            else:
                for at in range(0, count, tile_tokens):
                    tiles.append((index, first + at, min(tile_tokens, count - at)))
        self.row_tokens = np.concatenate(
            [np.arange(end - step.wants_logits, end) for step, end in zip(steps, first_tokens[1:], strict=True)]
        ).astype(np.int32)
        self.seq_lens = np.array(counts, np.int32)
        states, parts = _state_addresses(steps, new_states)
        arrays = (
            (STEP_SEQUENCES, _table(sequences, SEQUENCE_FIELDS)),
            (STEP_TILES, _table(tiles, TILE_FIELDS)),
            (STEP_SPLITS, _table(splits, SPLIT_FIELDS)),
            (STEP_MERGES, _table(merges, MERGE_FIELDS)),
            (STEP_SLOTS, slots),
            (STEP_STATES, states),
        )
        partials = aligned_bytes(4 * partial_spans * partial_floats)
        self.header: Words = np.zeros(STEP_FIELDS, np.int64)
        self.header[STEP_TOKENS] = len(self.token_ids)
        self.header[STEP_ROWS] = len(self.row_tokens)
        self.header[STEP_NUM_SEQUENCES] = len(steps)
        self.header[STEP_TOKEN_IDS] = self.token_ids.ctypes.data
        self.header[STEP_POSITIONS] = self.positions.ctypes.data
        self.header[STEP_ROW_TOKENS] = self.row_tokens.ctypes.data
        self.header[STEP_NUM_TILES] = len(tiles)
        self.header[STEP_NUM_SPLITS] = len(splits)
        self.header[STEP_NUM_MERGES] = len(merges)
        self.header[STEP_PARTIALS] = partials.ctypes.data
        for field, array in arrays:
            self.header[field] = array.ctypes.data
        self._kept_alive = (arrays, tables, partials, parts)


def _state_addresses(
    steps: Sequence[SequenceStep], new_states: Sequence[Mapping[int, StateSlot]]
) -> tuple[Words, Words]:
    """[sequences, 2]: where each sequence's states lie, and its list of parts; and these lists, one after the other, as
    kernels/states.py has them."""
    parts = [
        (length - step.sequence.length, slot.address)
        for step, slots in zip(steps, new_states, strict=False)
        for length, slot in slots.items()
    ]
    addresses, table, first = np.zeros((len(steps), 2), np.int64), np.array(parts, np.int64).reshape(-1, 2), 0
    for number, (step, slots) in enumerate(zip(steps, new_states, strict=False)):
        old = step.sequence.states
        assert isinstance(old, StateSlot)
        addresses[number] = old.address, table[first:].ctypes.data
        first += len(slots)
    return addresses, table


def _table(rows: Sequence[tuple[int, ...]], fields: int) -> Words:
    table = np.zeros((max(1, len(rows)), fields), np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table

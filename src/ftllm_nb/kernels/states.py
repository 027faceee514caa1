"""What kernels that keep a state of each sequence are given: its states as the step finds them, and where they go.

The states of a sequence lie in one piece of memory; a row knows the place of its own in it. A sequence's tokens of the
step are in one part or several, one after the other: a kernel reads the old states, and writes those after each part
into a piece of its own. So states of lengths that a step passes can be kept.
"""

from __future__ import annotations

import numba

from ftllm_nb.kernels.step import (
    SEQUENCE_FIELDS,
    SEQUENCE_FIRST_TOKEN,
    SEQUENCE_LENGTH,
    SEQUENCE_START,
    STEP_SEQUENCES,
    STEP_STATES,
    field,
)


@numba.njit(inline="always")
def old_states(step, sequence):
    """The address of a sequence's states as the step finds them."""
    return field(field(step, STEP_STATES) + 16 * sequence, 0)


PART_BYTES = 16
"""From a part to the sequence's next one."""


@numba.njit(inline="always")
def first_part(step, sequence):
    """The address of a sequence's first part; the last one ends with its last token."""
    return field(field(step, STEP_STATES) + 16 * sequence, 1)


@numba.njit(inline="always")
def part_end(part):
    """How many of the sequence's tokens of the step come before the part's end."""
    return field(part, 0)


@numba.njit
def part_before(part, token):
    """From a sequence's first part: the part of the token before this one of the step's; the first for none."""
    while part_end(part) < token:
        part += PART_BYTES
    return part


@numba.njit(inline="always")
def part_states(part):
    """The address at which the states after a part are to be written."""
    return field(part, 1)


@numba.njit(inline="always")
def first_token(step, sequence):
    """Where a sequence's tokens begin in the step."""
    return field(field(step, STEP_SEQUENCES) + 8 * SEQUENCE_FIELDS * sequence, SEQUENCE_FIRST_TOKEN)


@numba.njit(inline="always")
def token_count(step, sequence):
    """How many tokens of the step are a sequence's."""
    entry = field(step, STEP_SEQUENCES) + 8 * SEQUENCE_FIELDS * sequence
    return field(entry, SEQUENCE_LENGTH) - field(entry, SEQUENCE_START)

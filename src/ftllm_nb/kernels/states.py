"""What kernels that keep a state of each sequence are given: its states as the step finds them, and where they go.

The states of a sequence lie in one piece of memory; a row knows the place of its own in it. A kernel reads the old
states and writes all of the new ones, of each sequence of the step.
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


@numba.njit(inline="always")
def new_states(step, sequence):
    """The address at which a sequence's states are to be written."""
    return field(field(step, STEP_STATES) + 16 * sequence, 1)


@numba.njit(inline="always")
def first_token(step, sequence):
    """Where a sequence's tokens begin in the step."""
    return field(field(step, STEP_SEQUENCES) + 8 * SEQUENCE_FIELDS * sequence, SEQUENCE_FIRST_TOKEN)


@numba.njit(inline="always")
def token_count(step, sequence):
    """How many tokens of the step are a sequence's."""
    entry = field(step, STEP_SEQUENCES) + 8 * SEQUENCE_FIELDS * sequence
    return field(entry, SEQUENCE_LENGTH) - field(entry, SEQUENCE_START)

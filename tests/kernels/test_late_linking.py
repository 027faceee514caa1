"""What kernels call is compiled with them, and others can still use it."""

from __future__ import annotations

import numba

from ftllm_nb.kernels.attention_parts import first_seen
from ftllm_nb.kernels.compile import kernel


@numba.njit
def doubled(value):
    return 2 * value


@numba.njit
def seen_of(position):
    return first_seen(numba.int16(position), 4, 0)


@kernel(arguments=("int64",), result="int64")
def caller(position):
    return doubled(first_seen(numba.int16(position), 4, 0))


def test_a_function_is_lowered_for_a_kernel_and_compiled_where_others_call_it() -> None:
    caller.compile()
    (compiled,) = (each for each in first_seen.overloads.values() if each.signature.args[0] == numba.int16)
    assert not compiled.library._finalized
    assert caller(10) == 14
    assert seen_of(10) == 7
    assert compiled.library._finalized


def test_a_users_function_can_be_called_from_python_after_a_kernel_has_called_it() -> None:
    caller.compile()
    assert len(doubled.overloads) == 1
    assert doubled(21) == 42
    assert len(doubled.overloads) == 1

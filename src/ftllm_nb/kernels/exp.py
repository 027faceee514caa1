"""exp and tanh on vectors: no vector mathematics library comes with Numba's wheels."""

from __future__ import annotations

import numba

from ftllm_nb.kernels.simd import (
    as_float_bits,
    as_int_bits,
    fma,
    maximum,
    round_even,
    select,
    spread,
    spread_int,
    to_int,
)


@numba.njit(inline="always")
def _exp_of_rest(r):
    """e to the power r, |r| ≤ ½ ln 2: Taylor's polynomial of degree 6, whose error here is below one unit."""
    p = spread(1.3888889e-3)
    p = fma(p, r, spread(8.3333333e-3))
    p = fma(p, r, spread(4.1666666e-2))
    p = fma(p, r, spread(1.6666667e-1))
    p = fma(p, r, spread(0.5))
    p = fma(p, r, spread(1.0))
    return fma(p, r, spread(1.0))


@numba.njit(inline="always")
def exp(x):
    """e to the power x, within 3 units in the last place; 1 exactly at 0, 0 below −87.3, infinity above 88.0
    (half a binade early, which spares a second scaling); NaN stays NaN.

    x = n·ln 2 + r with n whole and |r| ≤ ½ ln 2 (ln 2 in two parts, so that r is exact to the last bit), then a
    polynomial for e^r, and n added to the exponent's bits.
    """
    overflow = x > spread(88.0)
    underflow = x < spread(-87.33654)
    clamped = select(overflow, spread(88.0), select(underflow, spread(-87.33654), x))
    n = round_even(clamped * spread(1.4426950408889634))
    r = fma(n, spread(-0.693359375), clamped)
    r = fma(n, spread(2.12194440e-4), r)
    p = _exp_of_rest(r)
    # 2ⁿ as float bits; n ≤ 127 since the argument is clamped
    scale = as_float_bits((to_int(n) + spread_int(127)) << spread_int(23))
    result = select(underflow, spread(0.0), p * scale)
    return select(overflow, spread(float("inf")), result)


@numba.njit(inline="always")
def exp_to_one(x):
    """`exp` of numbers that are not positive, in two thirds of its instructions; 0 from −88 down.

    n is rounded by adding it to 1.5 · 2²³, whose lowest bits it becomes: from there it goes to the exponent of a scale.
    Where n is −127, that is the exponent of 0.
    """
    clamped = select(x < spread(-88.0), spread(-88.0), x)
    shifted = fma(clamped, spread(1.4426950408889634), spread(12582912.0))
    n = shifted - spread(12582912.0)
    r = fma(n, spread(-0.693359375), clamped)
    r = fma(n, spread(2.12194440e-4), r)
    scale = (as_int_bits(shifted) + spread_int(127)) << spread_int(23)
    return _exp_of_rest(r) * as_float_bits(scale)


@numba.njit(inline="always")
def sigmoid(x):
    """1 / (1 + e^−x)."""
    return spread(1.0) / (spread(1.0) + exp(spread(0.0) - x))


@numba.njit(inline="always")
def tanh(x):
    """The hyperbolic tangent, within 3 units in the last place; NaN stays NaN.

    Below 0.625 x + x³·p(x²) with the polynomial of Moshier's Cephes library, which loses nothing to cancellation;
    above, 1 − 2 / (e^2|x| + 1) with the sign of x.
    """
    magnitude, square = maximum(x, spread(0.0) - x), x * x
    p = spread(-5.70498872745e-3)
    p = fma(p, square, spread(2.06390887954e-2))
    p = fma(p, square, spread(-5.37397155531e-2))
    p = fma(p, square, spread(1.33314422036e-1))
    p = fma(p, square, spread(-3.33332819422e-1))
    small = fma(p * square, x, x)
    large = spread(1.0) - spread(2.0) / (exp(magnitude + magnitude) + spread(1.0))
    large = select(x < spread(0.0), spread(0.0) - large, large)
    return select(magnitude < spread(0.625), small, large)

"""Which instructions kernels may use: a tier, chosen once from the host CPU or forced by FTLLM_NB_TIER.

A tier decides tile shapes and the target of Numba's code generator, and is part of the kernel cache's key.
Vectors have 16 lanes in every tier; LLVM splits them where registers are narrower, so results do not depend
on the tier.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from dataclasses import dataclass

from ftllm_nb.errors import UsageError


@dataclass(frozen=True)
class Tier:
    """A level of the instruction set.

    `required`: LLVM feature names that the CPU must have. `cpu`: the CPU name given to LLVM when the tier is
    forced, with exactly `required` switched on. `tile_tokens` × `tile_blocks`: the float matmul tile
    (tokens × blocks of 16 rows) whose accumulators fit the registers; `small_tokens` × `small_blocks`: the one
    for fewer tokens, which reads more weights at a time. `dot`: the instruction of kernels/dot.py;
    `dot_tokens` × `dot_blocks`: the tile of integer matmuls, of up to `most_dot_tokens` where memory decides, and of
    `many_dot_tokens` where a slab of 4-bit weights serves many: what keeps all in registers is faster then.
    `fetches_far`: what a single token's loops ask for, near or far ahead, is far where measuring shows no difference
    (see loop_choice.py). `multiplies_matrices`: AMX does them for many tokens.
    `converts_halves`: there are instructions between float16 and float32.
    """

    name: str
    machine: str
    required: tuple[str, ...]
    cpu: str
    tile_tokens: int
    tile_blocks: int
    small_tokens: int
    small_blocks: int
    dot: str
    dot_tokens: int
    most_dot_tokens: int
    dot_blocks: int
    many_dot_tokens: int
    fetches_far: bool = False
    multiplies_matrices: bool = False
    converts_halves: bool = True


_AVX2 = ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "sse4.2", "ssse3", "popcnt")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd")

_AMX = ("avx512vnni", "gfni", "amx-tile", "amx-int8", "amx-bf16")

TIERS: tuple[Tier, ...] = (
    Tier("amx", "x86_64", (*_AVX512, *_AMX), "sapphirerapids", 12, 2, 4, 4, "vpdpbusd512", 6, 8, 2, 6,
         multiplies_matrices=True),
    Tier("avx512vnni", "x86_64", (*_AVX512, "avx512vnni"), "cascadelake", 12, 2, 4, 4, "vpdpbusd512", 6, 8, 2, 6),
    Tier("avx512", "x86_64", _AVX512, "skylake-avx512", 12, 2, 4, 4, "maddubs512", 6, 8, 2, 6),
    Tier("avxvnni", "x86_64", (*_AVX2, "avxvnni"), "alderlake", 6, 1, 2, 2, "vpdpbusd256", 4, 4, 1, 4),
    Tier("avx2", "x86_64", _AVX2, "haswell", 6, 1, 2, 2, "maddubs256", 4, 4, 1, 3, fetches_far=True),
    Tier("neon_dot", "aarch64", ("neon", "dotprod"), "neoverse-n1", 6, 1, 2, 2, "sdot", 4, 4, 1, 4),
    Tier("neon", "aarch64", ("neon",), "generic", 6, 1, 2, 2, "plain", 2, 2, 1, 2),
    Tier("generic", "", (), "", 3, 1, 1, 1, "plain", 2, 2, 1, 2, converts_halves=False),
)
"""Best first; `generic` runs everywhere."""


def host_machine() -> str:
    """The machine's architecture as LLVM names it: x86_64, aarch64, …"""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


@functools.cache
def host_features() -> frozenset[str]:
    """The host CPU's features, by LLVM's names."""
    import llvmlite.binding as llvm

    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


@functools.cache
def _may_use_amx() -> bool:
    """Ask Linux for the tile registers, which a process must do before it touches them."""
    request, tile_data, system_call = 0x1023, 18, 158
    try:
        return bool(ctypes.CDLL(None).syscall(system_call, request, tile_data) == 0)
    except (OSError, AttributeError, TypeError):
        return False  # not Linux


def supported_tiers() -> list[Tier]:
    """The tiers that this CPU can run, best first."""
    features, machine = host_features(), host_machine()
    return [
        tier
        for tier in TIERS
        if tier.machine in ("", machine)
        and features.issuperset(set(tier.required) - {"neon"})
        and (not tier.multiplies_matrices or _may_use_amx())
    ]


def explain_tiers() -> list[str]:
    """A line for each tier: the one in use first, then why the others are not."""
    chosen, features = current_tier(), host_features()
    why = "FTLLM_NB_TIER" if os.environ.get("FTLLM_NB_TIER") else "the best that this CPU runs"
    lines = [f"{chosen.name}: chosen, {why}"]
    for tier in TIERS:
        missing = [name for name in tier.required if name not in features]
        if tier is chosen:
            continue
        if tier.machine not in ("", host_machine()):
            lines.append(f"{tier.name}: for {tier.machine} alone")
        elif tier in supported_tiers():
            lines.append(f"{tier.name}: runs here, too; FTLLM_NB_TIER={tier.name} chooses it")
        elif missing:
            lines.append(f"{tier.name}: this CPU lacks {', '.join(missing)}")
        else:
            lines.append(f"{tier.name}: the system does not permit it")
    return lines


@functools.cache
def current_tier() -> Tier:
    """The tier in use. Raises `UsageError` when FTLLM_NB_TIER names none, or one that the CPU lacks."""
    supported = supported_tiers()
    forced = os.environ.get("FTLLM_NB_TIER")
    if not forced:
        return supported[0]
    for tier in supported:
        if tier.name == forced:
            _compile_for(tier)
            return tier
    names = ", ".join(tier.name for tier in supported)
    known = forced in {tier.name for tier in TIERS}
    reason = "this CPU lacks it" if known else "there is no such tier"
    raise UsageError(f"FTLLM_NB_TIER={forced}: {reason}; this CPU can run: {names}.")


def _compile_for(tier: Tier) -> None:
    """Make Numba generate code for the forced tier rather than the host.

    The features must be set beside the CPU's name: with the name alone Numba still adds the host's.
    """
    import numba

    if not tier.cpu:
        numba.config.CPU_NAME = "generic"
        numba.config.CPU_FEATURES = ""
        return
    numba.config.CPU_NAME = tier.cpu
    numba.config.CPU_FEATURES = ",".join(f"+{name}" for name in tier.required)

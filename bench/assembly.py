"""Print what the inner loops of the matrix products are made of, read from the machine code.

Usage: python bench/assembly.py [--dtype TYPE ...] [--tier TIER ...]

A line is an innermost loop that multiplies: how many of its instructions are dot products or multiply-adds of vectors
(and of how many accumulators: tokens × row blocks), other arithmetic of vectors, loads and stores of vectors or tiles;
and how many vectors it spills to the stack, where 0 is wanted. A fused memory operand counts as a load.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator

from one_sentence import one_sentence

from ftllm_nb.kernels.tiers import current_tier, supported_tiers
from ftllm_nb.quant import quantized_types, weight_formats
from ftllm_nb.quant.base import weight_format

DTYPES = ["int4g32", "int4g128", "int4", "int8g32", "int8", "bfloat16", "float16"]
DOTS = re.compile(r"(vpdpbusd|tdpbssd|tdpbsud|vpmaddubsw|sdot|udot)\b")
MULTIPLY_ADDS = re.compile(r"(vfmadd\d+ps|tdpbf16ps|fmla)\b")
VECTOR = re.compile(r"%[xyzt]mm\d+|\bv\d+\.")
MEMORY = re.compile(r"\(.*\)|\[.*\]")
STACK = re.compile(r"\(%rsp[,)]|\[sp\b")
MOVES = ("vmov", "tileload", "tilestore", "tilezero", "ld", "st")
BROADCASTS = ("vpbroadcast", "vbroadcast")
STORES = re.compile(r"(vmov\w+|tilestored)\s+%[xyzt]mm\d+, [^%]*\(|st[rp]\s")


def main() -> None:
    """A table a tier; every tier but the chosen one in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", nargs="+", choices=weight_formats(),
                        default=DTYPES, help=f"weight formats (default: {' '.join(DTYPES)})")  # fmt: skip
    parser.add_argument("--tier", nargs="+", choices=[*(tier.name for tier in supported_tiers()), "all"],
                        default=[current_tier().name],
                        help="instruction tiers, or all (default: the best)")  # fmt: skip
    arguments = parser.parse_args()
    tiers = [tier.name for tier in supported_tiers()] if arguments.tier == ["all"] else arguments.tier
    if tiers != [current_tier().name]:
        for tier in tiers:
            environment = {**os.environ, "FTLLM_NB_TIER": tier}
            command = [sys.executable, __file__, "--tier", tier, "--dtype", *arguments.dtype]
            subprocess.run(command, env=environment, check=True)
        return
    print(f"\ntier {tiers[0]}\n")
    print("| weights | products | accumulators | other arithmetic | loads | stores | all | spills |")
    print("| ------- | -------: | -----------: | ---------------: | ----: | -----: | --: | -----: |")
    for dtype in arguments.dtype:
        format = weight_format(dtype)
        products = DOTS if dtype in quantized_types() else MULTIPLY_ADDS
        loops = inner_loops(format.linear_kernel().assembly(), products)
        rows = sorted({summary(loop, products) for loop in loops})
        for row in rows or [("no such instruction", *["-"] * 6)]:
            print(f"| {dtype} | {' | '.join(row)} |", flush=True)


def inner_loops(assembly: str, products: re.Pattern[str]) -> Iterator[list[str]]:
    """The instructions of each loop that holds products and no other such loop."""
    lines = re.sub(r"\t\{\w+\}\s+", "\t", assembly).splitlines()  # {vex}: how an instruction is encoded
    places = {line.split(":")[0]: number for number, line in enumerate(lines) if line.startswith(".L")}
    spans = []
    for number, line in enumerate(lines):
        jump = re.match(r"\t(?:j\w+|b|b\.\w+|cbn?z\s.*,|tbn?z\s.*,)\s+(\.L\w+)", line)
        if jump and places.get(jump[1], number) < number:
            begin = places[jump[1]]
            if any(products.search(inner) for inner in lines[begin:number]):
                spans.append((begin, number))
    for begin, end in spans:
        if not any(begin <= a and b <= end and (a, b) != (begin, end) for a, b in spans):
            yield [line.strip() for line in lines[begin : end + 1] if re.match(r"\t[a-z]", line)]


def summary(loop: list[str], instructions: re.Pattern[str]) -> tuple[str, ...]:
    """The cells of a loop's line."""
    products = [line for line in loop if instructions.match(line)]
    vector = [line for line in loop if VECTOR.search(line)]
    stores = [line for line in vector if STORES.match(line)]
    loads = [line for line in vector if MEMORY.search(line) and line not in stores and not line.startswith("prefetch")]
    moves = [line for line in vector if line.startswith(MOVES) or (line.startswith(BROADCASTS) and line in loads)]
    other = [line for line in vector if line not in products and line not in moves]
    name = products[0].split()[0]
    accumulators = len({re.split(r"[\s,]+", line)[-1] for line in products})
    spills = sum(bool(STACK.search(line)) for line in vector)
    return (f"{len(products)} {name}", f"{accumulators}", *(str(len(each)) for each in (other, loads, stores, loop)),
            str(spills))  # fmt: skip


if __name__ == "__main__":
    with one_sentence():
        main()

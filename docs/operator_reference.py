"""Writes docs/operator_reference.md: each operator's signature, meaning, parameters and an example, from its own file.

python docs/operator_reference.py
"""

from __future__ import annotations

import inspect
from pathlib import Path

from ftllm_nb.graph.operators import public_operators
from ftllm_nb.ops.base import Kind, Operator, Parameter

DOCS = Path(__file__).parent
PAGE = DOCS / "operator_reference.md"
HEAD = """# Operators, one by one

Written by `python docs/operator_reference.py` from the operators' own files; do not edit. [operators.md](operators.md)
has all of them on one page. Activations are `[1, tokens, features]`, after ExpandHead `[1, tokens, heads, headDim]`.
Parameters with a default may be left out; those in *italics* are unknown to fastllm.
"""
_EXAMPLES = {
    "eps": 'config["rms_norm_eps"]', "axis": "-1", "headDim": "64", "rotaryDim": "64", "part": "64",
    "scale": "64**-0.5", "start": "0", "topk": "8", "end": "64", "v": "0.5", "cap": "30.0", "multiplier": "1.0",
    "shape": "[4, 64]", "repeatTimes": "2", "beta": "0.1", "length": "8192", "vDim": "512",
}  # fmt: skip
"""What calls give for numbers without a default."""
_SHOWN = {"rotaryDim", "part", "topk"}
"""Numbers whose default is seldom right."""
_INPUTS = {"positionIds": "positionIds", "sin": "sin", "cos": "cos", "seqLens": "seqLens", "mask": "attentionMask"}
"""Parameters for what a build() is given."""


def page() -> str:
    """The text of the page."""
    return HEAD + "".join(section(operator) for _, operator in sorted(public_operators().items()))


def section(operator: type[Operator]) -> str:
    """One operator."""
    rows = "".join(
        f"| {f'*{each.name}*' if each.is_extra else f'`{each.name}`'} | {each.kind.value} | {default_of(each)} |\n"
        for each in operator.parameters
    )
    table = f"\n| parameter | takes | default |\n|---|---|---|\n{rows}" if rows else ""
    return (
        f"\n## {operator.name}\n\n{inspect.getdoc(operator)}\n{table}\n"
        f"```python\nself.{operator.name}({', '.join(example_of(operator))})\n```\n"
    )


def default_of(parameter: Parameter) -> str:
    """What is taken where a call leaves it out."""
    if not parameter.has_default:
        return ""
    return "None" if parameter.default is None else repr(parameter.default)


def example_of(operator: type[Operator]) -> list[str]:
    """Arguments that a call may give; what has a default is left out."""
    return [argument(each) for each in operator.parameters if not each.has_default or each.name in _SHOWN]


def argument(parameter: Parameter) -> str:
    """One argument."""
    name, kind = parameter.name, parameter.kind
    if parameter.only is not None or name in _INPUTS:
        return f'data["{parameter.only or _INPUTS[name]}"]'
    if kind is Kind.STATE:
        return f'data["pastState.{name}."][i]'
    if kind is Kind.CACHE:
        return f'data["{"pastValue" if name.startswith("v") else "pastKey"}."][i]'
    if kind in (Kind.WEIGHT, Kind.OPTIONAL_WEIGHT, Kind.WEIGHTS):
        return f'layer[".{name}"]'
    if parameter.is_number:
        return "[0, 1, 3, 2]" if kind is Kind.INTS and name == "axis" else _EXAMPLES[name]
    return f'data["{name}"]'


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""The graph in Graphviz's language: a cluster for each section."""

from __future__ import annotations

import json

from ftllm_nb.outline.folding import Section
from ftllm_nb.outline.picture import FLOW, PLAIN, PRODUCT, STATE, WEIGHT, Box, drawing_of

_FILL = {PRODUCT: "#d6e6f7", STATE: "#e6dbf5", WEIGHT: "#fbe9c6", PLAIN: "#eef1ee", FLOW: "#ffffff"}


def dot_text(title: str, sections: list[Section], totals: list[str]) -> str:
    """The text of a file for `dot -Tsvg`."""
    lines = [
        "digraph model {",
        f"  graph [label={_quoted(chr(10).join([title, *(' '.join(line.split()) for line in totals)]))}, labelloc=t];",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=10];',
    ]
    previous = None
    for number, section in enumerate(sections):
        drawing = drawing_of(section)
        lines.append(f"  subgraph cluster_{number} {{")
        lines.append(f"    label={_quoted(drawing.title)};")
        lines += (f"    {_node(number, at, box)}" for at, box in enumerate(drawing.boxes))
        lines += (f"    n{number}_{start} -> n{number}_{end};" for start, end in drawing.edges)
        lines.append("  }")
        if previous is not None:
            lines.append(f"  {previous} -> n{number}_0 [style=dashed];")
        previous = f"n{number}_{len(drawing.boxes) - 1}"
    return "\n".join([*lines, "}", ""])


def _node(section: int, number: int, box: Box) -> str:
    label = _quoted("\n".join([box.title, *box.lines]))
    shape = ", shape=ellipse" if box.kind == FLOW else ""
    return f'n{section}_{number} [label={label}, fillcolor="{_FILL[box.kind]}"{shape}];'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

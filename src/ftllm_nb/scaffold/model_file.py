"""A model's file in the public form, from the architecture that its checkpoint is nearest to."""

from __future__ import annotations

import math
import pprint
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ftllm_nb.checkpoint import Checkpoint, TensorInfo
from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.custom_file import load_graph_class
from ftllm_nb.graph.inputs import LOGITS
from ftllm_nb.graph.nearest import nearest_names
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.references import DataReference
from ftllm_nb.graph.unread_entries import unread_by_users
from ftllm_nb.outline.layer_bounds import number_of
from ftllm_nb.scaffold.candidates import Candidate
from ftllm_nb.scaffold.expressions import Sizes
from ftllm_nb.scaffold.marks import peculiarities, shown
from ftllm_nb.scaffold.program import Program
from ftllm_nb.scaffold.text import CODE_WIDTH, filled, todo_lines

_MOST_PECULIARITIES = 12
_EMBEDDING = re.compile(r"embed|\bw[tp]e\b")
_WITHOUT = (
    ("norm", "a norm without a weight takes None"),
    ("gate_proj", "a feed-forward without a gate has neither this Linear nor MulTo, and the activation changes up"),
)
"""Parts of names of tensors that may be lacking since the model is without them, and what to write then."""
PAGE = "docs/custom_model.md"


@dataclass(frozen=True)
class ModelFile:
    """The text of a file; `why`: sentences on the architecture that it follows; `todos`: what is not known."""

    text: str
    why: list[str]
    todos: list[str]


def model_file(checkpoint: Checkpoint, candidates: list[Candidate], name: str) -> ModelFile:
    """The file for a checkpoint. `candidates`: the nearest architecture first; `name`: what the model is called."""
    best = candidates[0]
    config = best.graph.config.peek() if isinstance(best.graph.config, ReadConfig) else dict(best.graph.config)
    tensors = checkpoint.tensors
    lacking = {each: _lacks(each, tensors, best) for each in best.missing}
    program = Program(best.graph, tensors, config, Sizes(config, _named_sizes(config)), lacking)
    unread = {tensor: _unread(tensor, count, tensors) for tensor, count in best.unread.items()}
    is_inside = {tensor: number_of(tensor, program.prefix) is not None for tensor in unread}
    in_layers = [text for tensor, text in unread.items() if is_inside[tensor]]
    others = [text for tensor, text in unread.items() if not is_inside[tensor]]
    others += [f"config.json has {entry}, and nothing here does that." for entry in best.entries]
    others += [*best.notes, *best.renaming.doubts]
    if best.problem is not None and not (others or in_layers or lacking):
        others.append(best.problem)
    why, todos = _why(best, candidates, checkpoint), [*others, *in_layers, *lacking.values()]
    head = _docstring(name, why, peculiarities(tensors, _is_tied(best, tensors)), best.renaming.pairs, todos)
    body = _body(program, config, others, in_layers)
    preamble = _preamble(checkpoint.config, config)
    text = _file(name, head, [*preamble, *body])
    written_out = _written_out(text, checkpoint, best)
    if written_out:
        entries = ", ".join(f'config["{entry}"]' for entry in written_out)
        text = _file(name, head, [*preamble, f"_ = {entries}  # what these say is written out below", *body])
    return ModelFile(text, why, todos)


def _body(program: Program, config: Mapping[str, Any], others: list[str], in_layers: list[str]) -> list[str]:
    """The lines of build() but for what it puts into the config. `others`, `in_layers`: what is not known."""
    before, layers, after = program.before(), program.of_layers() if program.layers else [], program.after()
    body = [*_locals(config, "\n".join([*before, *layers, *after])), "", *todo_lines(others), *before]
    if layers:
        inner = [*todo_lines(in_layers), *layers]
        if any('layer["' in line for line in inner):
            inner.insert(0, f'layer = weight["{program.prefix}"][i]')
        body.append(f"for i in range({_layer_count(config, len(program.layers))}):")
        body += [*(f"    {line}" for line in inner), ""]
    return [*body, *after]


def _file(name: str, head: list[str], body: list[str]) -> str:
    """The whole file."""
    imports = ["import math", ""] if any("math." in line for line in body) else []
    return "\n".join(
        [
            *head,
            "",
            *imports,
            "from ftllm.llm import ComputeGraph",
            "",
            "",
            f"class {class_name(name)}(ComputeGraph):",
            "    def build(self):",
            *(f"        {line}" if line else "" for line in body),
            "",
            "",
            f"__model__ = {class_name(name)}",
            "",
        ]
    )


def _written_out(text: str, checkpoint: Checkpoint, best: Candidate) -> list[str]:
    """The entries of the config that the architecture reads and the file has as numbers or as parts of its form."""
    read = best.graph.config.read if isinstance(best.graph.config, ReadConfig) else {}
    with TemporaryDirectory() as folder, suppress(FtllmError):
        file = Path(folder) / "model.py"
        file.write_text(text, encoding="utf-8")
        graph = build_graph(
            load_graph_class(file), checkpoint.config, checkpoint.tokenizer_config, checkpoint.generation_config
        )
        with suppress(FtllmError):
            check_graph(graph, checkpoint.tensors)  # operators read entries, too
        return [entry.name for entry in unread_by_users(graph) if entry.name in read]
    return []


def class_name(name: str) -> str:
    """A class's name for a model of that name."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    joined = "".join(word[:1].upper() + word[1:] for word in words) or "My"
    return f"{'Model' if joined[0].isdigit() else ''}{joined}Model"


def _why(best: Candidate, candidates: list[Candidate], checkpoint: Checkpoint) -> list[str]:
    """Why this architecture, and what speaks against it."""
    kinds = len({re.sub(r"\d+", "*", name) for name in checkpoint.tensors})
    if best.fits:
        sentences = [
            f"The nearest known architecture is {best.name}: it reads all {kinds} kinds of tensors, in the shapes that "
            f"config.json makes them, and every entry of config.json that is known to matter ({best.read} are read)."
        ]
        others = [each.name for each in candidates[1:] if each.fits and each.read >= best.read]
        if others:
            sentences.append(
                f"{', '.join(others)} would read them all, too, and differ{'s' if len(others) == 1 else ''} in what is "
                "computed: compare the answers."
            )
        return sentences
    unread, missing = len(best.unread), len(best.missing)
    sentences = [
        f"The nearest known architecture is {best.name}, which reads {kinds - unread} of {kinds} kinds of tensors"
        + (f" and {missing} that the checkpoint lacks" if missing else "")
        + "."
    ]
    if best.problem is not None and not missing:
        sentences.append(f"As it is, it is refused: {best.problem}")
    return sentences


def _docstring(
    name: str, why: list[str], special: list[str], pairs: Sequence[tuple[str, str]], todos: list[str]
) -> list[str]:
    lines = [f'"""{_safe(name)}, as ftllm-nb init wrote it from names and shapes alone.', ""]
    lines += [line for sentence in why for line in filled(_safe(sentence))]
    if special:
        lines += ["", "What differs from Llama, and the tensors that show it:"]
        lines += [line for each in special[:_MOST_PECULIARITIES] for line in filled(f"- {_safe(each)}.", "  ")]
    if pairs:
        lines += ["", "Tensors with names of their own, by words and shapes, and what each was taken for:"]
        lines += [line for known, own in pairs for line in filled(f"- {_safe(own)}: {_safe(known)}", "  ")]
    lines.append("")
    if todos:
        count = "One thing is" if len(todos) == 1 else f"{len(todos)} things are"
        lines += filled(f"{count} not known: look for TODO. {PAGE} has what to write for what.")
    else:
        lines += filled("Nothing is unknown. That it is right shows ftllm-nb verify, beside another implementation.")
    return [*lines, '"""']


def _safe(text: str) -> str:
    """What may stand in a docstring."""
    return " ".join(text.replace("\\", "/").replace('"""', "'''").split())


def _lacks(name: str, tensors: Mapping[str, TensorInfo], best: Candidate) -> str:
    """The rest of a TODO for a tensor that the checkpoint lacks."""
    near = nearest_names(name, tensors, count=2)
    hint = f"; of almost that name are {' and '.join(shown(each, tensors) for each in near)}" if near else ""
    shape = best.shapes.get(name)
    alike = [each for each in best.unread if shape is not None and sorted(tensors[each].shape) == sorted(shape)]
    if alike and not near:
        verb = "is" if len(alike) == 1 else "are"
        hint = f"; of its shape {verb} {' and '.join(shown(each, tensors) for each in alike[:3])}"
    way = next((f"; {text}" for part, text in _WITHOUT if part in name), "")
    return f"the checkpoint has no {name}{hint}{way}."


def _unread(name: str, count: int, tensors: Mapping[str, TensorInfo]) -> str:
    """The rest of a TODO for a tensor that nothing reads."""
    many = f" and {count - 1} more like it" if count > 1 else ""
    verb = "are" if count > 1 else "is"
    return f"{shown(name, tensors)}{many} {verb} read by nothing here: {_guess(name, tuple(tensors[name].shape))}."


def _guess(name: str, shape: tuple[int, ...]) -> str:
    """What such a tensor is likely for."""
    if name.endswith("bias"):
        return "a bias, which Linear takes as its third argument, or LayerNorm as its beta"
    if "norm" in name:
        return f"a norm of {shape[-1]} features, RMSNorm, or LayerNorm where it has a bias, before or after its branch"
    if math.prod(shape) == 1:
        return "one number, by which MulTo may multiply or which AddTo may add"
    if len(shape) == 1:
        return f"{shape[0]} numbers by which features may be multiplied (MulTo) or to which they are added (AddTo)"
    if _EMBEDDING.search(name) and len(shape) == 2:
        return f"a table of {shape[0]} rows for Embedding, of token ids or of positions"
    if name.endswith("A_log"):
        return "the decay of a recurrence, which MambaScan takes"
    if "conv" in name and len(shape) == 3:
        return f"a convolution of {shape[0]} channels and {shape[2]} taps, CausalConv1D"
    if len(shape) == 3:
        return f"a stack of {shape[0]} matrices, as those of experts, which MergeMOE takes"
    if "gate" in name or "router" in name:
        return "a gate (Linear, Sigmoid, MulTo) or the router of experts (Linear, SoftMax, SelectExpert)"
    if len(shape) == 2:
        return f"a matrix for Linear, from {shape[1]} features to {shape[0]}"
    return "no operator is known for its name"


def _preamble(given: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """The entries that build() puts into the config."""
    lines = ["config, weight, data = self.config, self.weight, self.data"]
    base = dict(given)
    text = given.get("text_config")
    if isinstance(text, Mapping) and "hidden_size" not in given and "hidden_size" in config:
        lines = [
            'self.config = config = {**self.config, **self.config["text_config"]}  # the text part alone',
            "weight, data = self.weight, self.data",
        ]
        base |= text
    for entry, value in config.items():
        if entry != "model_type" and (entry not in base or base[entry] != value):
            first, *more = pprint.pformat(value, width=CODE_WIDTH - 20, sort_dicts=False).split("\n")
            begin = f'config["{entry}"] = '
            lines += [f"{begin}{first}", *(" " * len(begin) + line for line in more)]
    return lines


def _named_sizes(config: Mapping[str, Any]) -> dict[int, str]:
    """Where parts of a tensor begin and end, in words."""
    heads, dim = config.get("num_attention_heads"), config.get("head_dim")
    if not isinstance(heads, int) or not isinstance(dim, int):
        return {}
    given = config.get("num_key_value_heads")
    kv_heads = given if isinstance(given, int) else heads
    names = {
        kv_heads * dim: "kv_heads * head_dim",
        heads * dim: "heads * head_dim",
        (heads + kv_heads) * dim: "(heads + kv_heads) * head_dim",
        (heads + 2 * kv_heads) * dim: "(heads + 2 * kv_heads) * head_dim",
    }
    for multiple in (1, 2, 3):
        names[multiple * dim] = "head_dim" if multiple == 1 else f"{multiple} * head_dim"
    return names


def _locals(config: Mapping[str, Any], code: str) -> list[str]:
    """The local variables that the code reads."""
    grouped = isinstance(config.get("num_key_value_heads"), int)
    kv_entry = "num_key_value_heads" if grouped else "num_attention_heads"
    values = {
        "heads": 'config["num_attention_heads"]',
        "kv_heads": f'config["{kv_entry}"]',
        "head_dim": 'config["head_dim"]',
    }
    return [f"{name} = {text}" for name, text in values.items() if re.search(rf"\b{name}\b(?!\")", code)]


def _layer_count(config: Mapping[str, Any], layers: int) -> str:
    entries = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
    entry = next((entry for entry in entries if config.get(entry) == layers), None)
    return str(layers) if entry is None else f'config["{entry}"]'


def _is_tied(best: Candidate, tensors: Mapping[str, TensorInfo]) -> bool:
    """Whether the matrix that makes the logits is none of the checkpoint's tensors."""
    logits = DataReference(LOGITS)
    names = [
        getattr(call.arguments[parameter.name], "name", "")
        for call in best.graph.calls
        if logits in call.arguments.values()
        for parameter in call.operator.parameters
        if parameter.may_be_embedding
    ]
    return any(name not in tensors for name in names)

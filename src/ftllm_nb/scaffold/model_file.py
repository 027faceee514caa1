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
from ftllm_nb.scaffold.candidates import Candidate, variations_of
from ftllm_nb.scaffold.formulas import Formula
from ftllm_nb.scaffold.functions import with_locals
from ftllm_nb.scaffold.marks import peculiarities, shown
from ftllm_nb.scaffold.numbers import Numbers
from ftllm_nb.scaffold.program import Method, Program
from ftllm_nb.scaffold.text import CODE_WIDTH, Line, filled, todo_lines

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
    tensors = checkpoint.tensors
    lacking = {each: _lacks(each, tensors, best) for each in best.missing}
    numbers = Numbers(best.graph, checkpoint.config, variations_of(best, checkpoint), tensors)
    program = Program(best.graph, tensors, numbers, lacking)
    unread = {tensor: _unread(tensor, count, tensors) for tensor, count in best.unread.items()}
    is_inside = {tensor: number_of(tensor, program.prefix) is not None for tensor in unread}
    in_layers = [text for tensor, text in unread.items() if is_inside[tensor]]
    others = [text for tensor, text in unread.items() if not is_inside[tensor]]
    others += [f"config.json has {entry}, and nothing here does that." for entry in best.entries]
    others += [*best.notes, *best.renaming.doubts]
    if best.problem is not None and not (others or in_layers or lacking):
        others.append(best.problem)
    body = _body(program, numbers.config, others, in_layers)
    why = _why(best, candidates, checkpoint)
    todos = [*others, *in_layers, *lacking.values(), *dict.fromkeys(numbers.doubts)]
    head = _docstring(name, why, peculiarities(tensors, _is_tied(best, tensors)), best.renaming.pairs, todos)
    preamble = _preamble(numbers)
    sizes = numbers.ratios | program.sizes
    methods = [line for method in program.methods for line in _method(method, sizes)]

    def text(written_out: Sequence[str]) -> str:
        comments = ["# What these say is written out below:"] if written_out else []
        said = [*map(Line, comments), *(Line(f'_ = config["{entry}"]') for entry in written_out)]
        return _file(name, head, with_locals(body, sizes, [*preamble, *said]), methods)

    whole = text([])
    written_out = _written_out(whole, checkpoint, best)
    return ModelFile(text(written_out) if written_out else whole, why, todos)


def _body(program: Program, config: Mapping[str, Any], others: list[str], in_layers: list[str]) -> list[Line]:
    """The lines of build() but for what it puts into the config. `others`, `in_layers`: what is not known."""
    before, layers, after = program.before(), program.of_layers() if program.layers else [], program.after()
    body = [*map(Line, todo_lines(others)), *before]
    if layers:
        inner = [*map(Line, todo_lines(in_layers)), *layers]
        body.append(Line(f"for i in range({_layer_count(config, len(program.layers))}):"))
        if any(line.reads("layer") for line in inner):
            body.append(Line(f'layer = weight["{program.prefix}"][i]', depth=1))
        body += [*(line.deeper() for line in inner), Line("")]
    return [*body, *after]


def _method(method: Method, sizes: Mapping[str, str]) -> list[Line]:
    """A method of the class."""
    lines = with_locals(method.lines, sizes)
    return [
        Line(""),
        Line(f"def {method.name}({', '.join(('self', *method.takes))}):"),
        Line(f'"""{method.text}"""', depth=1),
        *(line.deeper() for line in lines),
    ]


def _file(name: str, head: list[str], body: list[Line], methods: list[Line]) -> str:
    """The whole file."""
    inside = [Line("def build(self):"), *(line.deeper() for line in body), *methods]
    code = [text for line in inside for text in line.deeper().written()]
    imports = ["import math", ""] if any("math." in line for line in code) else []
    return "\n".join(
        [
            *head,
            "",
            *imports,
            "from ftllm.llm import ComputeGraph",
            "",
            "",
            f"class {class_name(name)}(ComputeGraph):",
            *code,
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


def _preamble(numbers: Numbers) -> list[Line]:
    """The entries that build() puts into the config."""
    lines = []
    if numbers.is_text_part:
        lines.append('self.config = config = {**config, **config["text_config"]}  # the text part alone')
    for entry, value in numbers.assigned.items():
        written = value.text() if isinstance(value, Formula) else pprint.pformat(
            value, width=CODE_WIDTH - 36, sort_dicts=False, compact=True
        )
        first, *more = written.split("\n")
        begin = f'config["{entry}"] = '
        lines += [f"{begin}{first}", *(" " * len(begin) + line for line in more)]
    return list(map(Line, lines))


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

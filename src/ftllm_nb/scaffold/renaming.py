"""The tensors of an architecture in a checkpoint that has names of its own, found by shapes and by what words say."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import Argument, WeightReference
from ftllm_nb.graph.types import format_shape
from ftllm_nb.graph.weight_steps import Rows, Transposed, WeightStep
from ftllm_nb.ops.base import Kind
from ftllm_nb.scaffold.roles import Role, role_of

Shape = tuple[int, ...]
_DOTTED = re.compile(r"(?<=[./])(\d+)(?=[./]|$)")
_UNDERSCORED = re.compile(r"(?<=[._/-])(\d+)(?=[._/-]|$)")
_JOINED = {"queries, keys and values": ("queries", "keys", "values"), "gate and up": ("gate", "up")}
"""Matrices that hold several, row by row."""


@dataclass
class Renaming:
    """`names`: by the architecture's name of a tensor, what it is of the checkpoint; `pairs`: the kinds of tensors that
    were found, the architecture's and the checkpoint's, with * for numbers; `doubts`: sentences on what may be
    otherwise.
    """

    names: dict[str, WeightReference] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def applied(self, calls: Iterable[Call], held: Container[str]) -> list[Call]:
        """The calls on the checkpoint's own names; biases that it does not hold are none."""
        found = []
        for call in calls:
            arguments = {name: self._own(each) for name, each in call.arguments.items()}
            for parameter in call.operator.parameters:
                each = arguments[parameter.name]
                is_optional = parameter.kind is Kind.OPTIONAL_WEIGHT and isinstance(each, WeightReference)
                if is_optional and each.name not in held:  # type: ignore[union-attr]
                    arguments[parameter.name] = None
            found.append(dataclasses.replace(call, arguments=arguments))
        return found

    def resized(self, shapes: Mapping[str, Shape]) -> Renaming:
        """The same where the architecture expects these shapes: what lies in one matrix has other rows of it."""
        ends: Counter[str] = Counter()
        names = {}
        for name, own in self.names.items():
            if own.steps and isinstance(own.steps[0], Rows) and name in shapes:
                start = ends[own.name]
                ends[own.name] += shapes[name][0]
                own = WeightReference(own.name, (Rows(start, ends[own.name]), *own.steps[1:]))
            names[name] = own
        return dataclasses.replace(self, names=names)

    def own_name(self, name: str) -> str:
        """What the architecture calls so, as the checkpoint does; what it lacks has the beginning of its layers."""
        if name in self.names:
            return self.names[name].name
        for theirs, mine in self._beginnings():
            number = re.match(rf"{re.escape(theirs)}(\d+)(?=[._/-])", name)
            if number is not None:
                return f"{mine}{number[1]}{name[number.end() :]}"
        return name

    def _beginnings(self) -> list[tuple[str, str]]:
        """What names of layers begin with, the architecture's and the checkpoint's, in most pairs."""
        pairs = ((known.partition("*"), own.partition("*")) for known, own in self.pairs)
        return [pair for pair, _ in Counter((known[0], own[0]) for known, own in pairs if known[1]).most_common(1)]

    def _own(self, argument: Argument) -> Argument:
        if isinstance(argument, tuple):
            return tuple(map(self._own, argument))  # type: ignore[return-value]
        if not isinstance(argument, WeightReference):
            return argument
        steps = self.names[argument.name].steps if argument.name in self.names else ()
        return WeightReference(self.own_name(argument.name), (*steps, *argument.steps))


@dataclass(eq=False)
class _Kind:
    """Tensors whose names differ in numbers alone: `shapes` by these."""

    template: str
    shapes: dict[tuple[int, ...], Shape]
    role: Role

    def name(self, numbers: tuple[int, ...]) -> str:
        """Of the tensor with these numbers."""
        parts = self.template.split("*")
        return parts[0] + "".join(f"{number}{part}" for number, part in zip(numbers, parts[1:], strict=True))

    @property
    def shown(self) -> str:
        """The name with the shape of the first."""
        return f"{self.template} {format_shape(next(iter(self.shapes.values())))}"


def found_names(expected: Mapping[str, Shape], held: Mapping[str, Shape], may_lack: set[str]) -> Renaming:
    """Where the checkpoint's tensors `held` are those that an architecture expects. `may_lack`: what it can do
    without."""
    wanted = _kinds({name: shape for name, shape in expected.items() if held.get(name) != shape})
    own = _kinds({name: shape for name, shape in held.items() if expected.get(name) != shape})
    order = {kind.template: place for place, kind in enumerate(own)}
    optional = {kind for kind in wanted if all(kind.name(numbers) in may_lack for numbers in kind.shapes)}
    renaming = Renaming()
    for is_bias in (False, True):
        _match(renaming, wanted, own, optional, is_bias)
        _split(renaming, wanted, own, is_bias)
        _turn(renaming, wanted, own)
    _turn_squares(renaming, expected, held)
    renaming.pairs.sort(key=lambda pair: order[pair[1]])
    return renaming


def _kinds(shapes: Mapping[str, Shape]) -> list[_Kind]:
    number = _DOTTED if any(_DOTTED.search(name) for name in shapes) else _UNDERSCORED
    grouped: dict[str, dict[tuple[int, ...], Shape]] = {}
    for name, shape in shapes.items():
        numbers = tuple(int(each) for each in number.findall(name))
        grouped.setdefault(number.sub("*", name), {})[numbers] = shape
    roles = {template: role_of(_rest(template), "*" in template) for template in grouped}
    norms = {
        template for template, role in roles.items() if "*" in template and role.what == "norm" and not role.is_bias
    }
    for template in grouped:
        beside = frozenset(_rest(each) for each in norms if _stem(each) != _stem(template))
        roles[template] = role_of(_rest(template), "*" in template, beside)
    return [_Kind(template, found, roles[template]) for template, found in grouped.items()]


def _stem(template: str) -> str:
    """What a weight and its bias have in common."""
    return re.sub(r"[._/-](weight|bias|w|b|kernel|gamma|beta)$", "", template)


def _rest(template: str) -> str:
    """A name behind the layer's number."""
    return template.partition("*")[2] or template


def _match(renaming: Renaming, wanted: list[_Kind], own: list[_Kind], optional: set[_Kind], is_bias: bool) -> None:
    """Pair kinds of one set of shapes, those first that speak for each other most."""
    for shapes in list(dict.fromkeys(frozenset(kind.shapes.items()) for kind in wanted)):
        these = [kind for kind in wanted if _is_of(kind, shapes, is_bias)]
        those = [kind for kind in own if _is_of(kind, shapes, is_bias)]
        while these and those:
            pair = _clearest(these, those, renaming)
            if pair is None and len(these) > len(those) and any(kind in optional for kind in these):
                these = [kind for kind in these if kind not in optional]
                continue
            if pair is None:
                _guess(renaming, wanted, own, these, those)
                break
            _take(renaming, wanted, own, *pair)
            these.remove(pair[0])
            those.remove(pair[1])


def _is_of(kind: _Kind, shapes: frozenset[tuple[tuple[int, ...], Shape]], is_bias: bool) -> bool:
    return kind.role.is_bias == is_bias and frozenset(kind.shapes.items()) == shapes


def _take(
    renaming: Renaming, wanted: list[_Kind], own: list[_Kind], kind: _Kind, other: _Kind, *steps: WeightStep
) -> None:
    renaming.names |= {
        kind.name(numbers): WeightReference(other.name(numbers), steps) for numbers in kind.shapes
    }
    renaming.pairs.append((kind.template, other.template))
    wanted.remove(kind)
    if other in own:
        own.remove(other)


def _clearest(these: Sequence[_Kind], those: Sequence[_Kind], renaming: Renaming) -> tuple[_Kind, _Kind] | None:
    """A pair of which each is the other's best, and no other is as good; None where there is none."""
    likeness = {
        (kind, other): value
        for kind in these
        for other in those
        if (value := _likeness(kind, other, renaming)) is not None
    }
    for (kind, other), value in sorted(likeness.items(), key=lambda pair: -pair[1]):
        rivals = [
            each for pair, each in likeness.items() if pair != (kind, other) and (pair[0] is kind or pair[1] is other)
        ]
        if all(each < value for each in rivals):
            return kind, other
    return None


def _likeness(kind: _Kind, other: _Kind, renaming: Renaming) -> float | None:
    """How much two kinds speak for each other; a bias stands beside its weight."""
    value = kind.role.likeness(other.role)
    if value is None or not kind.role.is_bias:
        return value
    weights = [mine for theirs, mine in renaming.pairs if _stem(theirs) == _stem(kind.template)]
    if not weights:
        return value
    return value + 8 if any(_stem(mine) == _stem(other.template) for mine in weights) else None


def _guess(
    renaming: Renaming, wanted: list[_Kind], own: list[_Kind], these: list[_Kind], those: list[_Kind]
) -> None:
    """Pair what shapes and words do not tell apart, in the checkpoint's order, and say so."""
    fits = {kind: [other for other in those if _likeness(kind, other, renaming) is not None] for kind in these}
    left = [kind for kind in these if fits[kind]]
    if len(left) != len(those) or any(len(fits[kind]) < len(those) for kind in left):
        return
    shown = " and ".join(other.shown for other in those)
    meant = ", ".join(kind.template for kind in left)
    renaming.doubts.append(
        f"neither shapes nor names tell which of {shown} is which of {meant}: they are taken in the checkpoint's order."
    )
    for kind, other in zip(left, list(those), strict=True):
        _take(renaming, wanted, own, kind, other)


def _split(renaming: Renaming, wanted: list[_Kind], own: list[_Kind], is_bias: bool) -> None:
    """Find matrices that lie in one of the checkpoint's, one behind the other."""
    for joined, parts in _JOINED.items():
        kinds = [_only(wanted, part, is_bias) for part in parts]
        whole = _only(own, joined, is_bias)
        if whole is None:
            continue
        found = [kind for kind in kinds if kind is not None]
        rows = [next(iter(kind.shapes.values()))[0] for kind in found]
        first = next(iter(whole.shapes.values()))
        if len(found) != len(parts) or sum(rows) != first[0]:
            continue
        if any(kind.shapes.keys() != whole.shapes.keys() for kind in found):
            continue
        start = 0
        for kind, size in zip(found, rows, strict=True):
            _take(renaming, wanted, own, kind, whole, Rows(start, start + size))
            start += size
        if not is_bias:
            renaming.doubts.append(
                f"{whole.shown} is taken for {joined} one behind the other: heads, or pairs of rows, may lie side by "
                "side as well."
            )


def _only(kinds: Iterable[_Kind], what: str, is_bias: bool) -> _Kind | None:
    found = [kind for kind in kinds if kind.role.what == what and kind.role.is_bias == is_bias]
    return found[0] if len(found) == 1 else None


def _turn(renaming: Renaming, wanted: list[_Kind], own: list[_Kind]) -> None:
    """Find matrices that are stored with their axes exchanged."""
    for kind in list(wanted):
        turned = {numbers: shape[::-1] for numbers, shape in kind.shapes.items()}
        if any(len(shape) != 2 for shape in turned.values()):
            continue
        fits = [other for other in own if other.shapes == turned and kind.role.likeness(other.role) is not None]
        rivals = [each for each in wanted if each.shapes == kind.shapes]
        if len(fits) == 1 and (len(rivals) == 1 or fits[0].role.what == kind.role.what != ""):
            _take(renaming, wanted, own, kind, fits[0], Transposed())


def _turn_squares(renaming: Renaming, expected: Mapping[str, Shape], held: Mapping[str, Shape]) -> None:
    """Where matrices of layers are stored with their axes exchanged, square ones, which do not show it, are as well."""
    turned = [name for name, own in renaming.names.items() if own.steps == (Transposed(),)]
    if not turned:
        return
    squares = {
        name: own
        for name, shape in expected.items()
        if len(shape) == 2 and len(set(shape)) == 1 and _DOTTED.search(name)
        if not (own := renaming.names.get(name, WeightReference(name))).steps and own.name in held
    }
    renaming.names |= {name: WeightReference(own.name, (Transposed(),)) for name, own in squares.items()}
    if squares:
        renaming.doubts.append(
            f"matrices are stored as [in, out], as {renaming.names[turned[0]].name} shows: square ones, as "
            f"{next(iter(squares.values())).name}, are taken so, too."
        )

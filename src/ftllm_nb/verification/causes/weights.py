"""Another weight: transposed, with 1 added, another tensor or another part of it, with a bias or without; or two
exchanged."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import Argument, WeightReference
from ftllm_nb.graph.weight_steps import Plus, Rows, Transposed
from ftllm_nb.ops.base import Kind
from ftllm_nb.verification.trial import Change, Ground, one_call, with_arguments

RANK = 15
_MOST_OTHERS = 40


def changes(ground: Ground) -> Iterator[Change]:
    """Each weight of each suspect, as something else; before that those that are read twice, where another is never."""
    yield from _read_twice(ground)
    for call in ground.suspects:
        yield from _exchanged(ground, call)
        for parameter in call.operator.parameters:
            given = call.arguments.get(parameter.name)
            if isinstance(given, WeightReference) and given.name in ground.tensors:
                yield from _changed(ground, call, parameter.name, given)
            elif parameter.kind is Kind.WEIGHTS and isinstance(given, tuple):
                yield from _lists(call, parameter.name)
            if parameter.name in ("bias", "beta"):
                yield from _optional(ground, call, parameter.name, given)


def _changed(ground: Ground, call: Call, name: str, given: WeightReference) -> Iterator[Change]:
    shape = tuple(ground.tensors[given.name].shape)
    if given.steps and isinstance(given.steps[-1], Transposed):
        as_stored = WeightReference(given.name, given.steps[:-1])
        yield _with(call, name, as_stored, "the matrix is transposed here, and as it is stored it makes them equal")
    elif len(shape) == 2 and not given.steps:
        yield _with(call, name, given.transposed(), "the matrix is transposed: with .transposed() they are equal")
    if any(isinstance(step, Plus) for step in given.steps):
        plain = WeightReference(given.name, tuple(step for step in given.steps if not isinstance(step, Plus)))
        yield _with(call, name, plain, f'weight["{given.name}"] alone, to which nothing is added, makes them equal')
    elif len(shape) == 1:
        yield _with(call, name, given + 1, f'1 + weight["{given.name}"] makes them equal')
    if any(step.computes for step in given.steps):
        moved = WeightReference(given.name, tuple(step for step in given.steps if not step.computes))
        yield _with(call, name, moved, "the weight is multiplied here, and alone it makes them equal")
    if given.steps and isinstance(given.steps[-1], Rows):
        yield from _other_rows(call, name, given, shape)
    for other in _others(ground, given, shape):
        yield one_call(
            f'weight["{given.name}"] is read here; weight["{other}"] makes them equal',
            call,
            lambda each, other=other: [renamed(each, name, given.name, other)],  # type: ignore[misc]
        )


def _exchanged(ground: Ground, call: Call) -> Iterator[Change]:
    """Two tensors of one shape that the call reads, each as the other."""
    node = ground.node_of(call)
    read = {
        parameter.name: node.inputs[parameter.name].type.shape
        for parameter in call.operator.parameters
        if node is not None and parameter.kind is Kind.WEIGHT and parameter.name in node.inputs
    }
    for one, other in itertools.combinations(read, 2):
        if read[one] == read[other]:
            yield one_call(
                f"{one} and {other} of {call.operator.name} are exchanged",
                call,
                lambda each, one=one, other=other: [  # type: ignore[misc]
                    with_arguments(each, **{one: each.arguments[other], other: each.arguments[one]})
                ],
            )


def renamed(call: Call, name: str, old: str, new: str) -> Call:
    """The call with the tensor whose name ends as the new one does where the old one ended so: in any layer."""
    given = call.arguments[name]
    common = next(
        (old[:size] for size in range(min(len(old), len(new)), 0, -1) if old[:size] == new[:size]), ""
    )
    end = old.removeprefix(common)
    if not isinstance(given, WeightReference) or not given.name.endswith(end):
        return call
    tensor = given.name[: len(given.name) - len(end)] + new.removeprefix(common)
    return with_arguments(call, **{name: dataclasses.replace(given, name=tensor)})


def _other_rows(call: Call, name: str, given: WeightReference, shape: tuple[int, ...]) -> Iterator[Change]:
    """Other slices of the matrix, of the same size."""
    last = given.steps[-1]
    assert isinstance(last, Rows)
    size = last.end - last.start
    unit = max(1, size // 4)
    for start in range(0, shape[0] - size + 1, unit):
        if start != last.start:
            steps = (*given.steps[:-1], Rows(start, start + size))
            sentence = f"rows {last.start} to {last.end} are read, and rows {start} to {start + size} make them equal"
            yield _with(call, name, WeightReference(given.name, steps), sentence)


def _others(ground: Ground, given: WeightReference, shape: tuple[int, ...]) -> list[str]:
    """Tensors of the same shape: those that nothing reads first, then the neighbours."""
    same = [name for name, each in ground.tensors.items() if tuple(each.shape) == shape and name != given.name]
    unread = [name for name in same if name in set(ground.graph.unread_tensors)]
    scope = given.name.rsplit(".", 3)[0]
    near = [name for name in same if name.startswith(scope) and name not in unread]
    return [*unread, *near][:_MOST_OTHERS]


def _optional(ground: Ground, call: Call, name: str, given: Argument) -> Iterator[Change]:
    if isinstance(given, WeightReference) and given.name in ground.tensors:
        yield _with(call, name, None, f'without {name}, weight["{given.name}"], they are equal')
    weight = _matrix(call)
    if weight is not None:
        forgotten = f"{weight.name.removesuffix('weight')}bias"
        if forgotten in ground.tensors and (not isinstance(given, WeightReference) or given.name != forgotten):
            yield one_call(
                f'{name} forgotten: weight["{forgotten}"] makes them equal',
                call,
                lambda each: [_with_own_bias(each, name)],
            )


def _matrix(call: Call) -> WeightReference | None:
    """What the call has a bias beside."""
    weight = call.arguments.get("weight") or call.arguments.get("gamma")
    return weight if isinstance(weight, WeightReference) else None


def _with_own_bias(call: Call, name: str) -> Call:
    weight = _matrix(call)
    if weight is None:
        return call
    bias = WeightReference(f"{weight.name.removesuffix('weight')}bias", tuple(
        step for step in weight.steps if isinstance(step, Rows)
    ))  # fmt: skip
    return with_arguments(call, **{name: bias})


def _lists(call: Call, name: str) -> Iterator[Change]:
    """Stacks of experts' matrices, exchanged with those of the other names."""
    for other in ("gate", "up", "down"):
        if other > name and call.arguments.get(other) is not None and name in call.arguments:
            yield one_call(
                f"{name} and {other} of {call.operator.name} are exchanged",
                call,
                lambda each, other=other: [  # type: ignore[misc]
                    with_arguments(each, **{name: each.arguments[other], other: each.arguments[name]})
                ],
            )


def _read_twice(ground: Ground) -> Iterator[Change]:
    """Calls whose weight another one reads as well, with one that nothing reads."""
    readers: dict[str, list[tuple[Call, str]]] = {}
    for call in ground.calls:
        for name, given in call.arguments.items():
            if isinstance(given, WeightReference) and given.name in ground.tensors:
                readers.setdefault(given.name, []).append((call, name))
    for unread in ground.graph.unread_tensors:
        shape = tuple(ground.tensors[unread].shape)
        for tensor, found in readers.items():
            if len(found) < 2 or tuple(ground.tensors[tensor].shape) != shape:
                continue
            for call, name in found:
                yield one_call(
                    f'weight["{tensor}"] is read {len(found)} times, and weight["{unread}"] never: here the latter '
                    "makes them equal",
                    call,
                    lambda each, name=name, tensor=tensor, unread=unread: [  # type: ignore[misc]
                        renamed(each, name, tensor, unread)
                    ],
                )


def _with(call: Call, name: str, new: Argument, sentence: str) -> Change:
    def edit(each: Call) -> list[Call]:
        given = each.arguments[name]
        if each is call or not isinstance(given, WeightReference) or not isinstance(new, WeightReference):
            return [with_arguments(each, **{name: new})]
        return [with_arguments(each, **{name: WeightReference(given.name, new.steps)})]

    return one_call(f"{call.operator.name}: {sentence}", call, edit)

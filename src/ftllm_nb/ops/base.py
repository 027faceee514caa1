"""What an operator is: a signature, a shape rule, a NumPy reference of a few lines, and a kernel.

A file in this folder holds one subclass of `Operator`; its class name becomes a method of `ComputeGraph`,
its docstring that method's documentation. `infer` and `reference` take the parameters by name: tensors as
`TensorType` or as arrays, numbers as they are, a missing optional weight as None. Both return one value for
each parameter that is written (kind INPLACE or OUTPUT), in the order of `parameters`: the value itself if
there is one, a tuple if there are several, None if there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.graph.types import FLOAT_TYPES, ShapeError, TensorType
from ftllm_nb.ops.reach import Reach

if TYPE_CHECKING:
    from ftllm_nb.ops.fusion import Chain, Group, Pattern

Array = NDArray[Any]
Inferred = TensorType | tuple[TensorType, ...] | None
Computed = Array | tuple[Array, ...] | None


class Kind(Enum):
    """What a parameter takes."""

    INPUT = "data"
    """A tensor that is read."""
    INPLACE = "data that is changed in place"
    """A tensor that is read and written again under the same name."""
    OUTPUT = "data that is written"
    """A tensor that is written."""
    WEIGHT = "weight"
    """A tensor of the checkpoint."""
    OPTIONAL_WEIGHT = "weight, or a name that the checkpoint lacks"
    """A tensor of the checkpoint, or nothing."""
    WEIGHTS = "weight, or a list of weights"
    """One tensor of the checkpoint, or several: a tuple of them, which a node has as NAME0, NAME1 and so on."""
    INPUT_OR_WEIGHT = "data or weight"
    """Either."""
    CACHE = "cache"
    """`pastKey.N` or `pastValue.N`, to which the operator appends, or which an earlier one has appended to."""
    STATE = "state"
    """What the operator keeps of each sequence, of a fixed size, zeros at first: a name as a cache has."""
    FLOAT = "number"
    """A floating-point constant."""
    INT = "whole number"
    """An integer constant."""
    INTS = "list of whole numbers"
    """Several of them, a tuple."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operator, in the order in which calls may give it by position.

    `default`: the constant taken when a call leaves it out.
    `is_extra`: one that fastllm's operator lacks, written to JSON only where a call gives it.
    `may_be_none`: a weight or an input for which a call may give None; `may_be_left_out`: which is None where a call
    leaves it out.
    `holds`: for a cache, the input whose rows are appended to it; where a call gives None for that, nothing is.
    `only`: the one name that may be given here, of an input whose content kernels know.
    `sizes`: for a weight, the config's entries that its axes must equal where the config has them.
    `multiplies`: this weight is a matrix [out features, in features], or a stack of them with more axes before, for
    products with the rows of the parameter of that name; "" for rows that the operator makes itself. Such a weight
    has any of the formats in quant/, and the parameter's value comes in the form that the format wants.
    `stays_float`: such a weight has a format of floats, whatever is chosen for others.
    `embeds`: rows of this weight are looked up: a token embedding where the operator reads `inputIds`, else a table
    of positions. Where rows hold several numbers, they have any of the formats, too.
    `may_be_embedding`: where the operator writes `logits` and the checkpoint lacks this weight, the token embedding
    is meant (tied embeddings).
    `may_be_half`: this state may be kept as float16, rounded after each token.
    `decays`: what is read here says how fast a state is forgotten or what is added to it: an error in it stays. So
    matrices which make it keep their floats.
    `by_position`: of `sin` and `cos`, only the rows of the step's positions are read.
    `if_lacking`, `if_bias`: what is likely meant, a sentence's end, where the checkpoint lacks this weight, and where
    it holds a bias beside it that nothing reads.
    `forms`: those of quant/activations.py in which the operator can write this output, if a node asks for one.
    `many`: any number of them, `name0`, `name1` and so on, of operators that only fusion makes.
    `by_expert`: of such a matrix's products, a row's matrix is one of several and known only while a step runs.
    `chooses`: by what is read here it is chosen which weights a token is multiplied by, so that matrices which make it
    keep their floats.
    """

    name: str
    kind: Kind
    default: int | float | None = None
    holds: str | None = None
    only: str | None = None
    sizes: tuple[str, ...] = ()
    multiplies: str | None = None
    stays_float: bool = False
    by_expert: bool = False
    chooses: bool = False
    may_be_half: bool = False
    decays: bool = False
    embeds: bool = False
    may_be_embedding: bool = False
    may_be_none: bool = False
    may_be_left_out: bool = False
    by_position: bool = False
    many: bool = False
    forms: tuple[type, ...] = ()
    if_lacking: str = ""
    if_bias: str = ""
    is_extra: bool = False

    @property
    def has_default(self) -> bool:
        """Whether a call may leave it out; `default` is what it means then."""
        return self.default is not None or self.may_be_left_out

    @property
    def is_many(self) -> bool:
        """Whether a node has any number of them."""
        return self.many or self.kind is Kind.WEIGHTS

    @property
    def is_read(self) -> bool:
        """Whether the operator reads a tensor here (None for a missing optional weight)."""
        return self.kind is not Kind.OUTPUT and not self.is_number

    @property
    def is_written(self) -> bool:
        """Whether the operator makes a new value here."""
        return self.kind in (Kind.INPLACE, Kind.OUTPUT)

    @property
    def is_number(self) -> bool:
        """Whether this is a constant, or several."""
        return self.kind in (Kind.FLOAT, Kind.INT, Kind.INTS)


class SequenceCache(Protocol):
    """One sequence's keys or values in one layer, as a reference sees them."""

    def append(self, rows: Array) -> Array:
        """Append float32 [n, heads, dim], rounded to the cache's type; all that is cached, as float32."""

    def read(self) -> Array:
        """All that is cached, as float32 [length, heads, dim]."""


def _print_line(text: str) -> None:
    print(text, flush=True)


@dataclass(frozen=True)
class StepContext:
    """What a reference may know about the step beside its arguments.

    `wants_logits`: for each sequence, of how many of its last tokens the logits are wanted.
    `rows`: for each sequence, which of the step's tokens are its own: `input[0, rows[i]]` is [its tokens, …].
    `report`: where `Print` writes. `config`: the model's, as build() left it.
    `names`: the user's names of the tensors, by parameter; `where`: the user's file and line.
    """

    wants_logits: tuple[int, ...] = (1,)
    rows: tuple[slice, ...] = ()
    report: Callable[[str], None] = _print_line
    config: Mapping[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True)
class Work:
    """What an operator does for a token, where its matrices' shapes do not say it.

    `share`: of the numbers in its matrices, those by which a token is multiplied: less than 1 where it chooses among
    experts. `attended`: of attention, features of all heads that are multiplied for each position that a token sees.
    `recurrent`: of a recurrence, multiplications and additions of floats for a token, of all heads.
    """

    share: float = 1.0
    attended: int = 0
    recurrent: int = 0


class Operator:
    """Base of all operators; never instantiated."""

    name: ClassVar[str]
    """The method of `ComputeGraph`; the class name."""
    json_type: ClassVar[str]
    """The type in fastllm's JSON; the same unless a class says otherwise."""
    public: ClassVar[bool] = True
    """False for operators that only fusion makes."""
    changes_nothing: ClassVar[bool] = False
    """True where the one output always equals the input of that name: checked, but never run."""
    outputs_share_rows: ClassVar[bool] = False
    """True where the outputs are column ranges of one buffer, each padded to a multiple of 16."""
    fuses: ClassVar[tuple[Pattern | Group | Chain, ...]] = ()
    """Of an operator that fusion makes: what it stands for (see fusion.py)."""
    orders: ClassVar[type[Operator] | None] = None
    """Of an operator that another one becomes where the columns of its matrices lie in other orders than inputs have:
    that one. A further parameter `orders` has them by matrix."""
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    entries: ClassVar[tuple[str, ...]] = ()
    """Entries of config.json that it reads beside its arguments."""
    lower: ClassVar[Callable[..., None] | None] = None
    """`lower(node, lowering)` adds rows to a program (see lowering.py). An operator without it is
    evaluated by its reference between two walks of the program."""
    infer: ClassVar[Callable[..., Inferred]]
    """The shape rule: types in, types out; raises `ShapeError` with the parameters' names."""
    state: ClassVar[Callable[..., Any] | None] = None
    """The shape of what it keeps of a sequence, where a parameter is a `STATE`, or a tuple of shapes where several are:
    takes what `infer` takes, without the states."""
    reference: ClassVar[Callable[..., Computed]]
    """The specification: `reference(step, **arguments)`; float32 in, float32 out, the inputs unchanged."""
    _found: ClassVar[dict[str, Parameter]]
    """What `parameter` has found, which lowering asks thousands of times."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.__name__
        cls._found = {}
        if "json_type" not in vars(cls):
            cls.json_type = cls.name

    @classmethod
    def parameter(cls, name: str) -> Parameter:
        """The parameter of that name; "weight2" is one of a parameter "weight" that is `many`."""
        found = cls._found.get(name)
        if found is None:
            base = name.rstrip("0123456789")
            found = next(each for each in cls.parameters if each.name == (base if each.is_many else name))
            cls._found[name] = found
        return found

    @classmethod
    def joined(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with NAME0, NAME1 … of each list of weights as the tuple NAME."""
        joined = dict(arguments)
        for parameter in cls.parameters:
            if parameter.kind is Kind.WEIGHTS and parameter.name not in joined:
                names = [f"{parameter.name}{number}" for number in range(len(arguments))]
                joined[parameter.name] = tuple(joined.pop(name) for name in names if name in joined)
        return joined

    @classmethod
    def doubt(cls, types: Mapping[str, Any]) -> str:
        """What is likely meant otherwise although the shapes fit: a sentence's end, "" for nothing. `types`: by
        parameter, as `infer` has them."""
        return ""

    @classmethod
    def work(cls, types: Mapping[str, Any]) -> Work:
        """What it does for a token. `types`: by parameter, as `infer` has them; what is missing is not there."""
        return Work()

    @classmethod
    def reach(cls, attributes: Mapping[str, int | float]) -> Reach:
        """How far back it reads what it keeps in its caches, with these constants; all of it unless a class says so."""
        return Reach()

    @classmethod
    def state_shapes(cls, arguments: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        """The shapes of what it keeps of a sequence, by parameter; raises `ShapeError`."""
        names = [parameter.name for parameter in cls.parameters if parameter.kind is Kind.STATE]
        if not names:
            return {}
        if cls.state is None:
            raise ShapeError(f"{cls.name} keeps {', '.join(names)}, and has no state() that says of what shape")
        given = cls.state(**{name: value for name, value in arguments.items() if name not in names})
        shapes = [given] if len(names) == 1 else list(given)
        if len(shapes) != len(names) or not all(map(_is_shape, shapes)):
            raise ShapeError(f"state() must return a shape for each of {', '.join(names)}, and returned {given}")
        return dict(zip(names, (tuple(map(int, shape)) for shape in shapes), strict=True))

    @classmethod
    def written(cls) -> tuple[str, ...]:
        """The names of the parameters that the operator writes."""
        return tuple(parameter.name for parameter in cls.parameters if parameter.is_written)

    @classmethod
    def infer_outputs(cls, arguments: dict[str, Any]) -> dict[str, TensorType]:
        """The types of what it writes, by parameter; raises `ShapeError`."""
        types = _as_tuple(cls.infer(**cls.joined(arguments)))
        names = cls.written()
        if len(types) != len(names) or not all(isinstance(each, TensorType) for each in types):
            raise ShapeError(f"infer() must return a TensorType for each of {', '.join(names)}, and returned {types}")
        return dict(zip(names, types, strict=True))

    @classmethod
    def compute(cls, step: StepContext, arguments: dict[str, Any]) -> dict[str, Array]:
        """What the reference computes, by parameter, as float32."""
        results, names = _as_tuple(cls.reference(step, **cls.joined(arguments))), cls.written()
        if len(results) != len(names):
            wanted = f"an array for each of {', '.join(names)}" if names else "nothing"
            raise ShapeError(f"it must return {wanted}, but it returned {len(results) or 'nothing'}")
        return {name: np.asarray(array, np.float32) for name, array in zip(names, results, strict=True)}


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, (tuple, list)) and all(
        isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0 for size in shape
    )


def _as_tuple(results: Any) -> tuple[Any, ...]:
    if results is None:
        return ()
    return results if isinstance(results, tuple) else (results,)


def require_activation(type: TensorType, name: str, rank: int | None = None) -> None:
    """Raise `ShapeError` unless this is float32 data, of the given number of axes where one is given."""
    if type.dtype != "float32":
        holds = "no values" if type.dtype == "marker" else type.dtype
        raise ShapeError(f"{name} must be float32 data, but it holds {holds}")
    if rank is None and type.rank < 2:
        raise ShapeError(f"{name} must have at least 2 axes, but it has {type.rank}")
    if rank is not None and type.rank != rank:
        hint = ": ExpandHead makes [1, tokens, heads, headDim]" if rank == 4 and type.rank == 3 else ""
        raise ShapeError(f"{name} must have {rank} axes, but it has {type.rank}{hint}")


def require_floats(type: TensorType, name: str) -> None:
    """Raise `ShapeError` unless this holds floating-point numbers, as data or as a weight."""
    if type.dtype not in FLOAT_TYPES:
        raise ShapeError(f"{name} must hold floating-point numbers, but it holds {type.dtype}")


def require_positions(positionIds: TensorType, input: TensorType) -> None:
    """Raise `ShapeError` unless these are the positions of an activation's tokens."""
    if positionIds.dtype != "int32" or positionIds.shape != input.shape[:2]:
        raise ShapeError('positionIds must be data["positionIds"], one position for each token of input')


def require_same_shape(type0: TensorType, name0: str, type1: TensorType, name1: str) -> None:
    """Raise `ShapeError` unless both are float32 data of one shape."""
    require_activation(type0, name0)
    require_activation(type1, name1)
    if type0.shape != type1.shape:
        raise ShapeError(f"{name0} and {name1} must have the same shape", *type0.shape, *type1.shape)


def require_vector(weight: TensorType, name: str, size: int) -> None:
    """Raise `ShapeError` unless this weight is one number for each of `size` features."""
    if weight.shape != (size,):
        raise ShapeError(f"{name} must have shape [{size}]", size, *weight.shape)


def require_axis(type: TensorType, axis: int) -> int:
    """An axis counted from 0; raises `ShapeError` for one that the tensor lacks."""
    if not -type.rank <= axis < type.rank:
        raise ShapeError(f"axis {axis} does not exist: the tensor has {type.rank} axes")
    return axis % type.rank

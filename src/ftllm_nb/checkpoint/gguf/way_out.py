"""From a model in Hugging Face's form to what llama.cpp has of its architecture: the other direction of
`Architecture`, as data of the same classes.

How rows lie, and what is added to norms, is not said again: a file is drafted (draft.py), read as any file is, and
what its reading would put back is what writing does (quantization/gguf).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.gguf.made import Relaid

FULL, SLIDING = "full_attention", "sliding_attention"
"""Kinds of layers, by the names of config.json's layer_types."""
ROPE_FACTORS, LONG_FACTORS, SHORT_FACTORS = (
    f"rope_{name}.weight" for name in ("freqs", "factors_long", "factors_short")
)


@dataclass(frozen=True)
class OutgoingModel:
    """A model that is to be written. `config`: as its graph leaves it, with Llama's names for what all have.

    `name`: what the file calls the architecture; `eps`: what norms add; `heads`, `kv_heads`, `head_dim`: of attention;
    `turning`, `bases`: how many numbers of a head turn, and θ, by the kind of layer, "" for all; `shapes`: of its
    tensors, by Hugging Face's names; `routing`: what SelectExpert takes in its first mixture.
    """

    name: str
    config: Mapping[str, Any]
    eps: float
    heads: int
    kv_heads: int
    head_dim: int
    turning: Mapping[str, int]
    bases: Mapping[str, float]
    shapes: Mapping[str, tuple[int, ...]]
    routing: Mapping[str, Any]

    def section(self, kind: str = FULL) -> dict[str, Any]:
        """What the config says of rotations, of one kind of layer where kinds differ."""
        config = self.config
        found: Mapping[str, Any] = config.get("rope_scaling") or config.get("rope_parameters") or {}
        if any(isinstance(entry, Mapping) for entry in found.values()):
            found = found.get(kind) or {}
        return {**found, "rope_type": {"su": "longrope"}.get(kind_of_rope(found), kind_of_rope(found))}

    def turning_of(self, kind: str = FULL) -> int:
        """How many numbers of a head turn in layers of a kind, those of another where the model has none of it."""
        return self.turning[""] if "" in self.turning else self.turning.get(kind, next(iter(self.turning.values())))

    def base_of(self, kind: str = FULL) -> float:
        """θ of layers of a kind, which the model need not have."""
        given = self.section(kind).get("rope_theta")
        return float(self.bases.get("", self.bases.get(kind, given or next(iter(self.bases.values())))))

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return int(self.config["num_hidden_layers"])

    @property
    def picks(self) -> int:
        """Experts of a token."""
        return int(self.routing["topk"])

    def first(self, *names: str, default: int = 0) -> int:
        """The config's first whole number of these names that is there; 0 counts as none."""
        return next((int(self.config[name]) for name in names if self.config.get(name)), default)

    @property
    def original_context(self) -> int:
        """The context before it was stretched."""
        for source in (self.config, self.section()):
            if source.get("original_max_position_embeddings"):
                return int(source["original_max_position_embeddings"])
        return int(self.config["max_position_embeddings"])


def kind_of_rope(section: Mapping[str, Any]) -> str:
    """The rope type that a section of a config names."""
    return str(section.get("rope_type") or section.get("type") or "default")


class WayOut:
    """What writing a file of an architecture asks for.

    `writes`: the model_types that a file holds, () where files are only read; `forms`: other classes for files of the
    same name; `file_architecture`: what files call the architecture, where that is no name of a module; `turns`:
    whether there are rotations; `keeps_floats`: parts of names of matrices that stay floats, as in llama.cpp;
    `writes_unread`: whether tensors of layers are written that the model's graph passes over; `untold`: constants of
    operators that no file has, and a sentence on what that means.
    """

    writes: ClassVar[tuple[str, ...]] = ()
    forms: ClassVar[tuple[type[WayOut], ...]] = ()
    file_architecture: ClassVar[str] = ""
    turns: ClassVar[bool] = True
    keeps_floats: ClassVar[tuple[str, ...]] = ()
    writes_unread: ClassVar[bool] = False
    untold: ClassVar[Mapping[str, str]] = {}
    names: ClassVar[Mapping[str, str]]
    eps_key: ClassVar[str]

    @classmethod
    def of_model(cls, config: Mapping[str, Any]) -> type[WayOut]:
        """The class for a model, where names depend on what it has."""
        return cls

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """The metadata below the architecture's name. What an architecture has no entry for is left out: reading the
        draft shows it."""
        config = model.config
        return {
            "context_length": int(config["max_position_embeddings"]),
            "embedding_length": int(config["hidden_size"]),
            "block_count": int(config["num_hidden_layers"]),
            "feed_forward_length": cls.inner_entry(model),
            "attention.head_count": model.heads,
            "attention.head_count_kv": model.kv_heads,
            "attention.key_length": model.head_dim,
            "attention.value_length": model.head_dim,
            cls.eps_key: float(model.eps),
            **(cls.rotation_entries(model) if cls.turns and model.turning else {}),
        }

    @classmethod
    def refused(cls, model: OutgoingModel) -> list[str]:
        """Sentences on what llama.cpp does not open of such a file, which is read here."""
        return []

    @classmethod
    def inner_entry(cls, model: OutgoingModel) -> Any:
        """Features inside of a feed-forward: a number, or one for each layer."""
        given = model.config["intermediate_size"]
        return np.array(given, np.int32) if isinstance(given, (list, tuple)) else int(given)

    @classmethod
    def relaid(cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Relaid:
        """What becomes of tensors that a file has in another form, by the names of `shapes`; experts are no part of
        it."""
        return Relaid()

    @classmethod
    def rotation_entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """Base, the part that turns, and what it is scaled by, of layers that see everything."""
        section = model.section()
        found: dict[str, Any] = {
            "rope.dimension_count": model.turning_of(),
            "rope.freq_base": model.base_of(),
        }
        kind = section["rope_type"]
        if kind in ("linear", "yarn") and section.get("factor"):
            found |= {"rope.scaling.type": kind, "rope.scaling.factor": float(section["factor"])}
        if kind == "yarn":
            found["rope.scaling.original_context_length"] = model.original_context
            for name in ("beta_fast", "beta_slow"):
                if section.get(name):
                    found[f"rope.scaling.yarn_{name}"] = float(section[name])
            if section.get("attention_factor"):
                found["rope.scaling.yarn_attn_factor"] = float(section["attention_factor"])
        if kind == "longrope":
            found["rope.scaling.type"] = kind
            found["rope.scaling.original_context_length"] = model.original_context
            found["rope.scaling.attn_factor"] = _long_attention_factor(model, section)
        return found

    @classmethod
    def window_entries(cls, model: OutgoingModel, pattern: bool = True) -> dict[str, Any]:
        """The window of layers that slide, and which they are; {} where none does."""
        window = model.config.get("sliding_window")
        kinds = model.config.get("layer_types")
        if not window or (kinds is not None and SLIDING not in kinds):
            return {}
        found: dict[str, Any] = {"attention.sliding_window": int(window)}
        if pattern and kinds is not None:
            found["attention.sliding_window_pattern"] = np.array([kind == SLIDING for kind in kinds])
        return found

    @classmethod
    def file_shapes(cls, model: OutgoingModel) -> dict[str, tuple[int, ...]]:
        """The tensors of the file that hold the model's. One without a name here keeps its own, which nothing reads."""
        return {cls.file_name(name): shape for name, shape in model.shapes.items()}

    @classmethod
    def file_name(cls, name: str) -> str:
        """What llama.cpp calls a tensor of the model; its own name where that is not known."""
        layer = re.search(r"\.(\d+)\.", name)
        general = name if layer is None else f"{name[: layer.start()]}.*.{name[layer.end() :]}"
        targets = {target: file_name for file_name, target in cls.names.items()}
        stem, dot, ending = general.rpartition(".")
        found = targets.get(general)
        if found is None and stem in targets and ending in ("weight", "bias"):
            found = targets[stem] + dot + ending
        if found is None:
            return name
        return found if layer is None else found.replace("*", layer[1])

    @classmethod
    def layers_with(cls, model: OutgoingModel, part: str) -> list[int]:
        """The layers that have a tensor, by the end of its name in a file."""
        found = (re.fullmatch(rf"blk\.(\d+)\.{re.escape(part)}", cls.file_name(name)) for name in model.shapes)
        return sorted(int(match[1]) for match in found if match)

    @classmethod
    def shape_of(cls, model: OutgoingModel, part: str) -> tuple[int, ...] | None:
        """The shape of a tensor of the first layer that has it, by the end of its name in a file."""
        layers = cls.layers_with(model, part)
        named = {cls.file_name(name): shape for name, shape in model.shapes.items()} if layers else {}
        return named[f"blk.{layers[0]}.{part}"] if layers else None

    @classmethod
    def contents(cls, model: OutgoingModel) -> dict[str, NDArray[np.float32]]:
        """Tensors of the file that hold what a config has: divisors of angles."""
        section = model.section()
        if not cls.turns or not model.turning:
            return {}
        if section["rope_type"] == "llama3":
            return {ROPE_FACTORS: _llama3_divisors(model, section)}
        if section["rope_type"] == "longrope":
            return {
                LONG_FACTORS: np.array(section["long_factor"], np.float32),
                SHORT_FACTORS: np.array(section["short_factor"], np.float32),
            }
        return {}


def _long_attention_factor(model: OutgoingModel, section: Mapping[str, Any]) -> float:
    """What sin and cos are multiplied by where angles are divided by lists."""
    if section.get("attention_factor"):
        return float(section["attention_factor"])
    original = model.original_context
    factor = section.get("factor") or model.config["max_position_embeddings"] / original
    return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0


def _llama3_divisors(model: OutgoingModel, section: Mapping[str, Any]) -> NDArray[np.float32]:
    """What Llama 3.1 divides its angles by: low frequencies by the factor, high ones by 1."""
    size, base = model.turning_of(), model.base_of()
    factor, original = float(section["factor"]), model.original_context
    low, high = float(section["low_freq_factor"]), float(section["high_freq_factor"])
    lengths = 2 * math.pi * base ** (np.arange(0, size, 2) / size)
    blend = np.clip((original / lengths - low) / (high - low), 0, 1)
    return (1 / ((1 - blend) / factor + blend)).astype(np.float32)

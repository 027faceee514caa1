"""Entries of config.json that change what a model computes, and that its build() did not read.

For an architecture of this package such an entry is an error, for a user's class a note at its line. Which entries
matter, and the values with which they change nothing, is the table `EFFECTS`.
"""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.call import graph_error
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.layer_kinds import FULL, layer_kinds
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.references import DataReference
from ftllm_nb.ops.gelu import TANH_NAMES

OWN_ARCHITECTURES = "ftllm_nb.models."
"""What the modules of this package's architectures begin with."""
FROM_JSON = "ftllm_nb.graph.json_format"
"""The module of graphs in JSON, into whose operators whoever wrote them has put what they read."""

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Effect:
    """What entries of these names do.

    `names`: a pattern that a whole name matches; `does`: the rest of "an entry by which …"; `nothing`: values that
    change nothing, beside null; `changes_nothing`: whether a value does not, seen beside the other entries;
    `are_one_thing`: where one entry that the pattern matches was read, the others are its other names; `is_rotation`:
    in an architecture of ours it matters only where something turns by its position; `is_of_norms`: only where
    something is normalized.
    """

    names: str
    does: str
    nothing: tuple[Any, ...] = ()
    changes_nothing: Callable[[Any, Config], bool] = lambda value, config: False
    are_one_thing: bool = False
    is_rotation: bool = False
    is_of_norms: bool = False

    def matters(self, value: Any, config: Config) -> bool:
        """Whether an entry with this value changes what is computed."""
        return value is not None and not _is_any(value, self.nothing) and not self.changes_nothing(value, config)


def _is_any(value: Any, nothing: tuple[Any, ...]) -> bool:
    """Whether a value, or each of a list, is one of those; 1 is no true and 0 no false."""
    if isinstance(value, list):
        return all(_is_any(each, nothing) for each in value)
    return any(isinstance(value, bool) == isinstance(each, bool) and value == each for each in nothing)


def _sees_everything(window: Any, config: Config) -> bool:
    """Whether no layer has this window, or the context is no longer than it."""
    context = config.get("max_position_embeddings")
    fits = isinstance(window, (int, float)) and isinstance(context, (int, float)) and window >= context
    return fits or config.get("use_sliding_window") is False or _all_full(config.get("layer_types"), config)


def _all_full(kinds: Any, config: Config) -> bool:
    """Whether the config says that all layers see everything; raises `GraphError` for kinds that are wrong."""
    return all(kind == FULL for kind in layer_kinds(config) or ["unknown"])


def _has_no_window(pattern: Any, config: Config) -> bool:
    """Whether there is nothing for a pattern to say: no window, or layers whose kinds are listed."""
    return config.get("sliding_window") is None or config.get("layer_types") is not None


def _is_head_dim(value: Any, config: Config) -> bool:
    return bool(value == _head_dim(config))


def _is_usual_scale(value: Any, config: Config) -> bool:
    head_dim = _head_dim(config)
    return isinstance(value, (int, float)) and head_dim is not None and math.isclose(value, head_dim**-0.5)


def _head_dim(config: Config) -> float | None:
    hidden, heads, head_dim = (config.get(name) for name in ("hidden_size", "num_attention_heads", "head_dim"))
    if isinstance(head_dim, int):
        return head_dim
    return hidden // heads if isinstance(hidden, int) and isinstance(heads, int) and heads > 0 else None


def _turns_plainly(section: Any, config: Config) -> bool:
    """Whether a section of rotation says no more than rope_theta does, or than the section of the other name."""
    sections = [config.get("rope_scaling"), config.get("rope_parameters")]
    if sections[0] == sections[1]:
        return True
    return isinstance(section, dict) and section.get("rope_type", section.get("type", "default")) == "default"


def _every_layer_turns(layers: Any, config: Config) -> bool:
    return isinstance(layers, list) and all(layers)


def _is_listed(interval: Any, config: Config) -> bool:
    return bool(config.get("no_rope_layers"))


EFFECTS = (
    # What a token sees.
    Effect("sliding_window(_size)?|(attention_)?window_size|local_attention", "layers see a window of positions only",
           (False, 0), _sees_everything),
    Effect("_?sliding_window_pattern", "some layers see a window of positions only", (False, 0), _has_no_window),
    Effect("attention_chunk_size", "layers see a chunk of positions only", (False, 0), _sees_everything),
    Effect("layer_types", "layers are of several kinds", (), _all_full),
    Effect("layers_block_type|block_types|hybrid_override_pattern|full_attn_idxs|full_attention_interval"
           "|attn_layer_(period|indices)", "layers are of several kinds"),
    Effect("is_causal", "tokens see later ones", (True,)),
    Effect("use_bidirectional_attention|prefix_lm", "tokens see later ones", (False,)),
    Effect(r"(\w+_)?sinks?(_\w+)?", "attention has sinks", (False, 0)),
    Effect("num_kv_shared_layers|use_cla", "layers read the keys and values of others", (False, 0)),
    Effect("kv_lora_rank", "keys and values are made of a latent vector", (0,)),
    Effect("attention_k_eq_v", "values are made of keys", (False,)),
    Effect("global_head_dim", "some layers have heads of another size", (), _is_head_dim),
    Effect("per_layer_config|num_attention_heads_per_layer", "layers differ in their sizes", ({},)),
    # Numbers that something is multiplied by, or bounded to.
    Effect(r"\w*soft_?cap(ping)?", "numbers are bounded by a softcap", (False, 0)),
    Effect("attention_multiplier", "scores of attention are multiplied", (), _is_usual_scale),
    Effect("query_pre_attn_scalar", "scores of attention are multiplied", (), _is_head_dim),
    Effect(r"(?!attention_multiplier)(?!\w*(dim|size|ffn|width))\w+_multipliers?", "values are multiplied", (1,)),
    Effect("logits_scaling|logit_scale|lm_head_scale", "logits are multiplied", (1,)),
    Effect("scale_emb|scale_depth|embedding_scale|emb_scale|residual_scale|attention_value_scale|qk_scale_factor",
           "values are multiplied", (1,)),
    Effect("dim_model_base", "logits are multiplied", (), lambda value, config: value == config.get("hidden_size")),
    Effect("scale_embedding|normalize_embeddings?|mup_enabled|scale_attn_by_inverse_layer_idx", "values are multiplied",
           (False,)),
    Effect("scale_attn_weights", "scores of attention are not divided", (True,)),
    Effect("use_logn_attn|attn_temperature_tuning", "queries are multiplied by a number of their position", (False, 0)),
    Effect("clip_qkv|swiglu_limit", "numbers are clipped"),
    Effect("activation_sparsity_pattern", "small activations become 0", (0,)),
    Effect("rms_norm_eps|layer_?norm_eps(ilon)?|norm_eps(ilon)?", "norms add another number to the mean square",
           are_one_thing=True, is_of_norms=True),
    Effect("hidden_act(ivation)?|activation_function|mlp_hidden_act", "the activation is another one",
           ("silu", "swish"), are_one_thing=True),
    # Rotation.
    Effect("rope_scaling|rope_parameters", "rotations are scaled", ({},), _turns_plainly, is_rotation=True),
    Effect("rope_theta|rotary_emb_base", "rotations have another base", (10000,), are_one_thing=True, is_rotation=True),
    Effect("rope_local_base_freq|(local|global)_rope_theta|layer_rope_theta", "layers turn by bases of their own",
           is_rotation=True),
    Effect("partial_rotary_factor|rotary_pct|rotary_percentage|rope_pct|rotary_emb_fraction",
           "only a part of each head turns", (1,), are_one_thing=True, is_rotation=True),
    Effect("rotary_dim", "only a part of each head turns", (0,), _is_head_dim, is_rotation=True),
    Effect("rope_ratio", "rotations have another base", (1,), is_rotation=True),
    Effect("rope_interleaved?", "neighbouring numbers of a head turn together", (False,), is_rotation=True),
    Effect("no_rope_layers", "some layers do not turn", (), _every_layer_turns),
    Effect("no_rope_layer_interval", "some layers do not turn", (0,), _is_listed),
    Effect("alibi", "scores of attention fall with the distance", (False,)),
    Effect("position_embedding_type", "positions are told otherwise", ("rope", "rope_gptj", "rope_neox")),
    # Parts.
    Effect("hidden_size_per_layer_input", "each layer has embeddings of its own", (0,)),
    Effect("altup_num_inputs", "several streams flow from layer to layer", (0, 1)),
    Effect("num(_local)?_experts|n_routed_experts|moe_num_experts", "tokens are sent to experts", (0, 1)),
    Effect("(moe_)?routed_scaling_factor", "weights of experts are multiplied", (1,)),
    Effect("scoring_func", "experts are scored otherwise", ("softmax",)),
    Effect("n_group|topk_group", "experts are chosen from groups", (0, 1)),
    Effect("enable_moe_block", "tokens are sent to experts", (False,)),
    Effect("use_parallel_residual|parallel_attn", "attention and feed-forward stand side by side", (False,)),
    Effect("apply_residual_connection_post_layernorm", "branches are added to what was normalized", (False,)),
    Effect("do_layer_norm_before", "norms come after their branches", (True,)),
    Effect("attn_output_gate|use_attention_gate", "attention's result has a gate", (False,)),
    Effect("linear_value_heads_are_tiled", "heads of values stand in another order", (False,)),
    Effect("use_qk_norm|qk_norm|(use_)?qk_layernorm", "queries and keys are normalized", (False,)),
    # Of GGUF: entries of the metadata that its reading does not know, by their own names.
    Effect(r"[\w-]+(\.[\w-]+)+", "GGUF changes what a model computes"),
)  # fmt: skip
"""Of all models that are known, not of the architectures here alone: a user's file may describe any. Biases are none
of these entries, since the checkpoint tells whether there are any."""


@dataclass(frozen=True)
class UnreadEntry:
    """An entry that matters and that nobody read."""

    name: str
    value: Any
    does: str

    def __str__(self) -> str:
        return f"{self.name} = {shown(self.value)}, by which {self.does}"


def is_own_architecture(graph: ComputeGraph) -> bool:
    """Whether a graph's class is one of this package's, and no user's."""
    return type(graph).__module__.startswith(OWN_ARCHITECTURES)


def refuse_unread(graph: ComputeGraph) -> None:
    """Raise `GraphError` where an architecture of this package did not read an entry that matters."""
    if not is_own_architecture(graph):
        return
    for entry in _unread(graph):
        raise GraphError(
            f"config.json has {entry}, which the architecture {shown(graph.config.get('model_type'))} does not do: "
            f"describe the model in a Python file and give it with --custom FILE, or set {entry.name} to null if this "
            "model is without it."
        )


def notes_on_unread(graph: ComputeGraph) -> list[str]:
    """A sentence for each entry that matters and that a user's build() did not read; [] for architectures of ours.

    A number that some operator is given counts as read: a file may be for one model, and hold its numbers.
    """
    if is_own_architecture(graph) or type(graph).__module__ == FROM_JSON:
        return []
    file, line = _where(type(graph))
    remedy = "read it, or assign None to it if the model is without it"
    sentences = (f"build() does not read config.json's {entry}; {remedy}." for entry in unread_by_users(graph))
    return [str(graph_error(sentence, file, line)) for sentence in sentences]


def unread_by_users(graph: ComputeGraph) -> list[UnreadEntry]:
    """The entries that matter and that a user's build() neither read nor spelled out."""
    constants = {value for call in graph.calls for value in call.arguments.values() if isinstance(value, (int, float))}
    named = {call.operator.name.lower() for call in graph.calls}
    return [entry for entry in _unread(graph, for_users=True) if not _is_spelled_out(entry.value, constants, named)]


def _unread(graph: ComputeGraph, for_users: bool = False) -> Iterable[UnreadEntry]:
    config = graph.config
    if not isinstance(config, ReadConfig):
        return  # build() put a dict of its own in its place
    every, read = config.peek(), config.read
    norms = any("eps" in call.arguments for call in graph.calls)
    turns = any(DataReference("positionIds") in call.arguments.values() for call in graph.calls)
    for name, value in config.unread.items():
        effect = next((effect for effect in EFFECTS if re.fullmatch(effect.names, name)), None)
        if effect is None:
            continue
        try:
            if not effect.matters(value, every):
                continue
        except GraphError:
            if not for_users:
                raise
        if (effect.is_rotation and not turns and not for_users) or (effect.is_of_norms and not norms):
            continue
        if effect.are_one_thing and any(
            re.fullmatch(effect.names, other) and read[other] is not None for other in read
        ):
            continue
        yield UnreadEntry(name, value, effect.does)


def _is_spelled_out(value: Any, constants: set[int | float], operators: set[str]) -> bool:
    """Whether a call has this number, or its operator this name."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value in constants
    if not isinstance(value, str):
        return False
    if value in TANH_NAMES and any(name.startswith("gelu") for name in operators):
        return True  # GeluNew, or an operator of the file's own
    return value.partition("_")[0].lower() in operators


def _where(graph_class: type[ComputeGraph]) -> tuple[str | None, int | None]:
    """The file of a user's class, and the line of its build() if it has one of its own."""
    if "build" in vars(graph_class) and inspect.isfunction(graph_class.build):
        code = graph_class.build.__code__
        return code.co_filename, code.co_firstlineno
    return getattr(sys.modules.get(graph_class.__module__), "__file__", None), None

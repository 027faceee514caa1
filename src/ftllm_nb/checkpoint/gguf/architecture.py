"""How llama.cpp has the models of an architecture: names, orders of rows, and what its metadata says of the config.

The base class is Llama's form, with what its relatives need as data; one that differs is a file of `architectures`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.checkpoint.gguf.metadata import Metadata, shortest
from ftllm_nb.checkpoint.gguf.sources import Source, neighbours_to_halves
from ftllm_nb.checkpoint.gguf.way_out import FULL, LONG_FACTORS, ROPE_FACTORS, SHORT_FACTORS, SLIDING, WayOut
from ftllm_nb.errors import CheckpointError

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.*.attn_norm": "model.layers.*.input_layernorm",
    "blk.*.attn_q": "model.layers.*.self_attn.q_proj",
    "blk.*.attn_k": "model.layers.*.self_attn.k_proj",
    "blk.*.attn_v": "model.layers.*.self_attn.v_proj",
    "blk.*.attn_qkv": "model.layers.*.self_attn.qkv_proj",
    "blk.*.attn_output": "model.layers.*.self_attn.o_proj",
    "blk.*.attn_q_norm": "model.layers.*.self_attn.q_norm",
    "blk.*.attn_k_norm": "model.layers.*.self_attn.k_norm",
    "blk.*.ffn_norm": "model.layers.*.post_attention_layernorm",
    "blk.*.ffn_gate": "model.layers.*.mlp.gate_proj",
    "blk.*.ffn_up": "model.layers.*.mlp.up_proj",
    "blk.*.ffn_down": "model.layers.*.mlp.down_proj",
}
"""llama.cpp's names of tensors → those of Llama, without .weight and .bias; * is a layer's number."""
AROUND_BRANCHES = {
    "blk.*.post_attention_norm": "model.layers.*.post_attention_layernorm",
    "blk.*.ffn_norm": "model.layers.*.pre_feedforward_layernorm",
    "blk.*.post_ffw_norm": "model.layers.*.post_feedforward_layernorm",
}
"""The same where there are norms before and after each branch."""
LAYER_EMBEDDINGS = {
    "per_layer_token_embd": "model.embed_tokens_per_layer",
    "per_layer_model_proj": "model.per_layer_model_projection",
    "per_layer_proj_norm": "model.per_layer_projection_norm",
    "blk.*.inp_gate": "model.layers.*.per_layer_input_gate",
    "blk.*.proj": "model.layers.*.per_layer_projection",
    "blk.*.post_norm": "model.layers.*.post_per_layer_input_norm",
}
"""The same of embeddings that each layer has for itself."""
_OF_THE_CONFIG = re.compile(r"rope_(freqs|factors_long|factors_short)\.weight|blk\.\d+\.attn_rot_embd\..*")
"""Tensors that are no weights: what rotations are divided by, and tables of rotations in old files."""


class Architecture(WayOut):
    """A file's model, as a config.json and named tensors of Hugging Face's form.

    `model_type`: the config's; `names`: what tensors are called; `turns_neighbours`: the rows of q and k lie so that
    neighbours turn, and are put back for halves; `norm_plus`: what is to be added to norms, of which llama.cpp keeps
    the sum with the offset of their models; `eps_entry`, `eps_key`: what the config and the metadata call the eps of
    norms.
    """

    model_type: str
    names: ClassVar[Mapping[str, str]] = NAMES
    turns_neighbours: ClassVar[bool] = False
    norm_plus: ClassVar[float] = 0.0
    eps_entry: ClassVar[str] = "rms_norm_eps"
    eps_key: ClassVar[str] = "attention.layer_norm_rms_epsilon"

    def __init__(self, file: GgufFile, metadata: Metadata) -> None:
        self.file = file
        self.metadata = metadata
        self.layers = metadata.whole("block_count")
        if self.layers > len(file.tensors):
            raise CheckpointError(
                f"{file.path} claims {self.layers:,} layers (block_count) and holds {len(file.tensors)} tensors: it is "
                "damaged, so download it again."
            )
        self.hidden_size = metadata.whole("embedding_length")
        self.heads = self.query_heads()
        self.head_dim = metadata.whole("attention.key_length", max(self.hidden_size // self.heads, 1))

    @classmethod
    def of(cls, file: GgufFile, metadata: Metadata) -> Architecture:
        """The architecture of a file that names this one, where several share the name."""
        return cls(file, metadata)

    def query_heads(self) -> int:
        """Heads of queries."""
        return self.same_in_all_layers("attention.head_count")

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.same_in_all_layers("attention.head_count_kv", self.heads)

    @property
    def inner_size(self) -> int:
        """Features inside of a feed-forward."""
        return self.same_in_all_layers("feed_forward_length")

    def config(self) -> dict[str, Any]:
        """What config.json has of such a model. Raises `CheckpointError` for metadata that is missing or damaged."""
        metadata = self.metadata
        self.require_sizes()
        return {
            "model_type": self.model_type,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "intermediate_size": self.inner_size,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.rows_of("token_embd.weight"),
            "max_position_embeddings": metadata.whole("context_length"),
            self.eps_entry: metadata.real(self.eps_key),
            "tie_word_embeddings": "output.weight" not in self.file.tensors,
            **self.rotations(),
        }

    def sources(self) -> dict[str, Source]:
        """What each of the model's tensors is made of; those that have no other name keep llama.cpp's."""
        found: dict[str, Source] = {}
        for name in self.file.tensors:
            if not _OF_THE_CONFIG.fullmatch(name):
                found.update(self.sources_of(name, self.model_name(name)))
        return found

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """The tensors that are made of the file's tensor `name`, which the model calls `target`."""
        shape = self.file.tensors[name].shape
        rows = None
        if self.turns_neighbours:
            heads = {"attn_q": self.heads, "attn_k": self.kv_heads}.get(name.split(".")[-2])
            if heads is not None:
                self.require_multiple(name, shape[0], 2 * heads)
                rows = neighbours_to_halves(shape[0], heads)
        plus = self.norm_plus if name.endswith("norm.weight") else 0.0
        return {target: Source(name, shape, rows, plus)}

    def model_name(self, name: str) -> str:
        """What the model calls a tensor of the file."""
        layer = re.match(r"blk\.(\d+)\.", name)
        general = name if layer is None else f"blk.*.{name[layer.end() :]}"
        stem, dot, ending = general.rpartition(".")
        found = self.names.get(general)
        if found is None and stem in self.names and ending in ("weight", "bias"):
            found = self.names[stem] + dot + ending
        if found is None:
            return name
        return found if layer is None else found.replace("*", layer[1])

    def rotations(self) -> dict[str, Any]:
        """The config's entries on rotations: their base, the part that turns, and what they are scaled by."""
        entries: dict[str, Any] = {"rope_theta": self.metadata.real("rope.freq_base", 10000.0)}
        turning = self.metadata.whole("rope.dimension_count", self.head_dim)
        if turning != self.head_dim:
            entries["partial_rotary_factor"] = part_of(turning, self.head_dim)
        scaling = self.scaling()
        if scaling is not None:
            entries["rope_scaling"] = scaling
        return entries

    def scaling(self) -> dict[str, Any] | None:
        """The config's rope_scaling, None for none."""
        metadata = self.metadata
        kind = metadata.text("rope.scaling.type", "none")
        if LONG_FACTORS in self.file.tensors or SHORT_FACTORS in self.file.tensors:
            return {
                "rope_type": "longrope",
                "short_factor": self.numbers(SHORT_FACTORS),
                "long_factor": self.numbers(LONG_FACTORS),
                "original_max_position_embeddings": self.original_context(),
                "attention_factor": metadata.real("rope.scaling.attn_factor", 1.0),
            }
        if kind == "yarn":
            return self._yarn()
        if kind == "longrope":
            raise CheckpointError(
                f"{self.file.path} scales its rotations by longrope, but holds no tensors {LONG_FACTORS} and "
                f"{SHORT_FACTORS}: download another file of the model."
            )
        factor = metadata.real("rope.scale_linear", 1.0)
        if kind == "linear":
            factor = metadata.real("rope.scaling.factor", factor)
        elif kind != "none":
            raise CheckpointError(
                f"{self.file.path} scales its rotations in a way that is not known, {shown(kind)}; known are none, "
                "linear, yarn and longrope."
            )
        if ROPE_FACTORS in self.file.tensors:
            return {"rope_type": "divided", "divisors": self.numbers(ROPE_FACTORS)}
        return None if factor in (0, 1) else {"rope_type": "linear", "factor": factor}

    def _yarn(self) -> dict[str, Any]:
        metadata = self.metadata
        found = {
            "rope_type": "yarn",
            "factor": metadata.real("rope.scaling.factor"),
            "original_max_position_embeddings": self.original_context(),
        }
        for entry, name in (("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")):
            if f"rope.scaling.{name}" in metadata:
                found[entry] = metadata.real(f"rope.scaling.{name}")
        if "rope.scaling.yarn_attn_factor" in metadata:
            found["attention_factor"] = metadata.real("rope.scaling.yarn_attn_factor")
        return found

    def original_context(self) -> int:
        """The context before it was stretched."""
        return self.metadata.whole("rope.scaling.original_context_length", self.metadata.whole("context_length"))

    def numbers(self, name: str) -> list[float]:
        """The numbers of a small float32 tensor that belongs into the config."""
        tensor = self.file.tensors.get(name)
        if tensor is None or tensor.type != "F32" or len(tensor.shape) != 1:
            found = "it holds none" if tensor is None else f"it holds one {list(tensor.shape)} of {tensor.type}"
            raise CheckpointError(f"{self.file.path} should hold a list of float32 {shown(name)}, but {found}.")
        values = self.file.bytes_of(name).view("<f4")
        if not np.isfinite(values).all():
            raise CheckpointError(f"{self.file.path}: tensor {shown(name)} holds numbers that are not finite.")
        return [shortest(float(each)) for each in values]

    def windows(self, period: int, window: int | None) -> dict[str, Any]:
        """The config's entries on windows, where the metadata's are `window` and each `period`-th layer sees all."""
        slides = self.metadata.pattern("attention.sliding_window_pattern", self.layers, period)
        return {"sliding_window": window, "layer_types": [SLIDING if each else FULL for each in slides]}

    def rows_of(self, name: str) -> int:
        """The rows of a matrix that the model must have."""
        tensor = self.file.tensors.get(name)
        if tensor is None or len(tensor.shape) != 2:
            found = "lacks it" if tensor is None else f"has it as {list(tensor.shape)}"
            raise CheckpointError(
                f"{self.file.path} must hold a matrix {shown(name)}, but it {found}: download another file."
            )
        return tensor.shape[0]

    def same_in_all_layers(self, name: str, default: int | None = None) -> int:
        """A size that may be told for each layer, and is the same in all."""
        sizes = set(self.metadata.wholes(name, self.layers, default, least=0))
        if len(sizes) > 1 or 0 in sizes:
            raise CheckpointError(
                f"{self.file.path} has layers whose {name} differ ({', '.join(map(str, sorted(sizes)))}), which this "
                "architecture does not do: describe the model in a Python file and give it with --custom FILE."
            )
        return sizes.pop()

    def require_sizes(self) -> None:
        """Raise `CheckpointError` where values of heads have another size than keys, or the vocabulary another than
        the embedding."""
        self.require_vocabulary()
        values = self.metadata.whole("attention.value_length", self.head_dim)
        if values != self.head_dim:
            raise CheckpointError(
                f"{self.file.path} has values of {values} numbers a head and keys of {self.head_dim}, which this "
                "architecture does not do."
            )

    def require_vocabulary(self) -> None:
        """Raise `CheckpointError` where the vocabulary has another size than the embedding."""
        tokens = self.file.metadata.get("tokenizer.ggml.tokens")
        rows = self.rows_of("token_embd.weight")
        if isinstance(tokens, list) and len(tokens) != rows:
            raise CheckpointError(
                f"{self.file.path} has a vocabulary of {len(tokens):,} tokens and an embedding of {rows:,}: its parts "
                "do not belong together, so download another file."
            )

    def require_multiple(self, name: str, rows: int, multiple: int) -> None:
        """Raise `CheckpointError` where a matrix of heads has another number of rows."""
        if rows % multiple:
            raise CheckpointError(
                f"{self.file.path}: tensor {shown(name)} has {rows} rows, which {multiple} do not divide, as its heads "
                "ask for: the file is damaged."
            )


def part_of(turning: int, size: int) -> float:
    """The partial_rotary_factor by which `turning` of `size` numbers turn, int(size · factor)."""
    factor = turning / size
    return factor if int(size * factor) == turning else float(np.nextafter(factor, 2))

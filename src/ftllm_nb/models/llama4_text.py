"""Llama 4: one expert a token beside a shared one, chunks of attention, norms of heads after they have turned."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ftllm_nb.blocks import Names, OneExpertDecoder, turning_layers
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, positive_or, whole
from ftllm_nb.graph.layer_kinds import FULL, layer_kinds

CHUNKED = "chunked_attention"


class Llama4Model(OneExpertDecoder):
    """The graph of `Llama4ForCausalLM`."""

    names = Names(feed_forward="feed_forward")
    turns_neighbours = True
    default_eps = 1e-5

    @property
    def head_dim(self) -> int:
        """128 where the config does not say."""
        return 128 if "head_dim" not in self.config else super().head_dim

    @cached_property
    def chunk(self) -> int:
        """Positions of a chunk, 0 where there are none."""
        absent = self.config.get("attention_chunk_size", 8192) is None
        return 0 if absent else whole(self.config, "attention_chunk_size", 8192)

    @cached_property
    def turning(self) -> list[bool]:
        """As no_rope_layers says."""
        return turning_layers(self)

    @cached_property
    def kinds(self) -> list[str]:
        """Those that turn are in chunks, where layer_types is absent."""
        kinds = layer_kinds(self.config) or [CHUNKED if turns and self.chunk else FULL for turns in self.turning]
        for kind in kinds:
            if kind not in (FULL, CHUNKED) or (kind == CHUNKED and not self.chunk):
                raise GraphError(
                    f'config.json\'s layer_types has {shown(kind)} layers; this architecture has "{FULL}", and '
                    f'"{CHUNKED}" of an attention_chunk_size.'
                )
        return kinds

    def rotates(self, number: int) -> bool:
        """As no_rope_layers says."""
        return self.turning[number]

    def attention_limits(self, number: int) -> dict[str, Any]:
        """Chunks, in layers of that kind."""
        return {"chunk": self.chunk if self.kinds[number] == CHUNKED else 0}

    def check_config(self) -> None:
        """What transformers takes for an absent rope_theta is there."""
        self.tunes = bool(self.config.get("attn_temperature_tuning", True))
        self.normalizes_heads = flag(self.config, "use_qk_norm", True)
        rope = self.config.get("rope_parameters")
        if self.config.get("rope_theta") is None and not (isinstance(rope, Mapping) and "rope_theta" in rope):
            self.config["rope_theta"] = 5e5
        super().check_config()

    def turn_heads(self, number: int, at: str) -> None:
        """Turned, then normalized; where a layer does not turn, queries grow with their position."""
        self.rotate(number, "q", "k")
        if self.rotates(number):
            for heads in (self.data["q"], self.data["k"]) if self.normalizes_heads else ():
                self.RMSNorm(heads, None, self.eps, heads)
        elif self.tunes:
            beta, length = positive_or(self.config, "attn_scale", 0.1), positive_or(self.config, "floor_scale", 8192.0)
            self.ScaleByPosition(self.data["q"], self.data["positionIds"], beta, length, 1)


__model__ = Llama4Model

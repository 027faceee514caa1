"""Gemma 3n's text models: several streams, low-rank branches, sparse activations, shared keys and values."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import EdgeDecoder, SparseDecoder, StreamsDecoder, listed
from ftllm_nb.graph.config_entries import positive_or, whole
from ftllm_nb.graph.layer_kinds import patterned_kinds
from ftllm_nb.models.gemma3_text import Gemma3Model


class Gemma3nModel(StreamsDecoder, SparseDecoder, EdgeDecoder, Gemma3Model):
    """The graph of `Gemma3nForCausalLM`."""

    by_layer = ("intermediate_size",)
    window = 512
    shared_layers = 15

    @cached_property
    def kinds(self) -> list[str]:
        """Every fifth is full, where the config does not say."""
        return patterned_kinds(self.config, 5)

    @property
    def inner_size(self) -> int:
        """Of the layer at hand."""
        sizes = self.config["intermediate_size"]
        return int(listed(self, "intermediate_size")[self.number] if isinstance(sizes, list) else sizes)

    def layer(self, number: int, at: str) -> None:
        """The active stream is computed, the others follow it."""
        data, names, half = self.data, self.names, 2**-0.5
        self.predict_streams(f"{at}altup.")
        self.normed("hidden", at, names.before_attention, "x")
        self.linear("x", f"{at}laurel.linear_left", whole(self.config, "laurel_rank", 64), "laurel")
        self.linear("laurel", f"{at}laurel.linear_right", self.hidden_size, "laurel")
        self.norm("laurel", f"{at}laurel.post_laurel_norm", "laurel")
        self.AddTo(data["laurel"], data["x"])
        self.attention(number, f"{at}{names.attention}.", "x", "branch")
        self.normed("branch", at, names.after_attention, "branch")
        self.Mul(data["hidden"], half, data["y"])
        self._sizes["y"] = self.hidden_size
        for name in ("branch", "laurel"):
            self.AddTo(data["y"], data[name], half)
        self.normed("y", at, names.before_feed_forward, "x")
        self.feed_forward(f"{at}{names.feed_forward}.", "x", "branch")
        self.normed("branch", at, names.after_feed_forward, "branch")
        self.AddTo(data["y"], data["branch"])
        self.correct_streams(f"{at}altup.", "y")
        self.layer_branch(at, "first", "branch")
        self.add_to_others("branch")

    def finish_logits(self) -> None:
        """Capped at 30, where the config does not say."""
        logits = self.data["logits"]
        self.SoftCap(logits, positive_or(self.config, "final_logit_softcapping", 30.0), logits)


__model__ = Gemma3nModel

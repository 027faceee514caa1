"""Qwen3-Next: gated delta nets and attention, each before a mixture of experts."""

from __future__ import annotations

from ftllm_nb.blocks import DeltaNetDecoder, QwenMixtureDecoder
from ftllm_nb.graph.config_entries import flag, whole


class Qwen3NextModel(QwenMixtureDecoder, DeltaNetDecoder):
    """The graph of `Qwen3NextForCausalLM`. What predicts more than one token is passed over."""

    shared = "shared_expert"
    shared_gate = "shared_expert_gate"
    shared_entry = ("shared_expert_intermediate_size", 512)
    unused = ("mtp.",)

    def is_mixture(self, number: int) -> bool:
        """None where there are no experts."""
        return whole(self.config, "num_experts", 512, least=0) > 0 and super().is_mixture(number)

    @property
    def normalizes(self) -> int:
        """As norm_topk_prob says."""
        return int(flag(self.config, "norm_topk_prob", True))

    def project(self, at: str, source: str) -> None:
        """Two matrices, in whose rows each key head's own stand together; GGUF has the first as Qwen3.5's two."""
        keys, dim = self.state_key_heads, self.state_key_dim
        values = self.state_heads // keys
        size = values * self.state_value_dim
        if f"{at}in_proj_qkv.weight" in self.checkpoint_names:
            self.linear(source, f"{at}in_proj_qkv", keys * (2 * dim + size), "mixed")
            self.linear(source, f"{at}in_proj_z", keys * size, "z")
        else:
            self.linear(source, f"{at}in_proj_qkvz", keys * (2 * dim + 2 * size), "qkvz")
            self.split_heads("qkvz", **{"q.in": dim, "k.in": dim, "v.in": size, "z": size})
            for name in ("q.in", "k.in", "v.in", "z"):
                self.Flatten(self.data[name])
            self.Cat(self.data["q.in"], self.data["k.in"], -1, self.data["qk"])
            self.Cat(self.data["qk"], self.data["v.in"], -1, self.data["mixed"])
            self._sizes["mixed"] = keys * (2 * dim + size)
        name, hidden = f"{at}in_proj_ba.weight", self.hidden_size
        self._shapes[name] = (2 * self.state_heads, hidden)
        both = self.weight[name].reshaped(keys, 2 * values, hidden)
        for number, target in enumerate("ba"):
            rows = both.part(1, number * values, (number + 1) * values).reshaped(self.state_heads, hidden)
            self.Linear(self.data[source], rows, None, self.data[target])


__model__ = Qwen3NextModel

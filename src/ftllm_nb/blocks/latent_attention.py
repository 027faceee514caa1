"""Multi-head latent attention: keys and values are made from a short vector of each token (DeepSeek-V2, 2024)."""

from __future__ import annotations

import math
from functools import cached_property

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.graph.config_entries import positive
from ftllm_nb.graph.references import WeightReference

LATENT_EPS = 1e-6
"""Of norms of latent vectors, whatever the config says of others."""


class LatentAttentionDecoder(Decoder):
    """A `Decoder` whose keys have a part without position and one that turns, shared by all heads.

    The cache holds each token's latent vector and the part of its key that turns. Queries are multiplied by the matrix
    that would make keys of latent vectors, and what attention gives of those by the one that would make values: for a
    single token less work, and the same bits for any number of them.
    """

    groups_heads = False

    @property
    def head_dim(self) -> int:
        """What turns of a head: the tables of rotations are for it."""
        return self.size("qk_rope_head_dim")

    @property
    def key_dim(self) -> int:
        """Features of a key: the part without position, then the part that turns."""
        return self.size("qk_nope_head_dim") + self.head_dim

    @cached_property
    def value_dim(self) -> int:
        """Features of a value."""
        return self.size("v_head_dim")

    @property
    def scale(self) -> float:
        """By the size of a key, and more where a stretched context has an mscale_all_dim."""
        section = self.config.get("rope_scaling") or self.config.get("rope_parameters") or {}
        sharpness = 1.0
        if section.get("mscale_all_dim"):
            factor = positive(section, "factor")
            sharpness += 0.1 * positive(section, "mscale_all_dim") * math.log(factor) if factor > 1 else 0
        return float(self.key_dim**-0.5 * sharpness**2)

    def latent_norm(self, name: str, weight: str) -> None:
        """RMSNorm of a latent vector, in place, with an eps of its own."""
        self._shapes[weight] = (self._sizes[name],)
        self.RMSNorm(self.data[name], self.weight[weight], LATENT_EPS, self.data[name])

    def project_heads(self, at: str, source: str) -> None:
        """q.still, times the keys' matrix, and q.turning; the latent vector and k.turning, one for all heads."""
        still, turning, latent = self.key_dim - self.head_dim, self.head_dim, self.size("kv_lora_rank")
        if self.config.get("q_lora_rank") is None:
            self.linear(source, f"{at}q_proj", self.heads * self.key_dim, "q.whole")
        else:
            self.linear(source, f"{at}q_a_proj", self.size("q_lora_rank"), "q.latent", self.qkv_bias)
            self.latent_norm("q.latent", f"{at}q_a_layernorm.weight")
            self.linear("q.latent", f"{at}q_b_proj", self.heads * self.key_dim, "q.whole")
        self.split_heads("q.whole", **{"q.still": still, "q.turning": turning})
        self.linear(source, f"{at}kv_a_proj_with_mqa", latent + turning, "kv.low", self.qkv_bias)
        self.split("kv.low", **{"kv.latent": latent, "k.turning": turning})
        self.latent_norm("kv.latent", f"{at}kv_a_layernorm.weight")
        self.ExpandHead(self.data["kv.latent"], latent)
        self.ExpandHead(self.data["k.turning"], turning)
        self.expand_per_head("q.still", self.key_matrices(at))

    def key_matrices(self, at: str) -> WeightReference:
        """What multiplies a latent vector where a head's keys would be made of it, turned: [heads, latent, still]."""
        still, turned = self.key_dim - self.head_dim, f"{at}k_b_proj.weight"
        if turned not in self.checkpoint_names:
            return self.head_matrices(at, 0, still).transposed()
        self._shapes[turned] = (self.heads, self.size("kv_lora_rank"), still)
        return self.weight[turned]

    def value_matrices(self, at: str) -> WeightReference:
        """What makes each head's values of a latent vector: [heads, value_dim, latent]."""
        still, single = self.key_dim - self.head_dim, f"{at}v_b_proj.weight"
        if single not in self.checkpoint_names:
            return self.head_matrices(at, still, still + self.value_dim)
        self._shapes[single] = (self.heads, self.value_dim, self.size("kv_lora_rank"))
        return self.weight[single]

    def head_matrices(self, at: str, start: int, end: int) -> WeightReference:
        """Of the matrix that makes each head's key and value of a latent vector: the rows start … end − 1 of all heads,
        [heads, rows, latent]."""
        name, size = f"{at}kv_b_proj.weight", self.key_dim - self.head_dim + self.value_dim
        self._shapes[name] = (self.heads * size, self.size("kv_lora_rank"))
        return self.weight[name].reshaped(self.heads, size, -1).part(1, start, end)

    def expand_per_head(self, name: str, weight: WeightReference) -> None:
        """Multiply each head by its matrix."""
        self.LinearPerHead(self.data[name], weight, self.data[name])

    def turn_heads(self, number: int, at: str) -> None:
        """Turn what turns, and put it behind what does not."""
        self.rotate(number, "q.turning", "k.turning")
        self.Cat(self.data["q.still"], self.data["q.turning"], -1, self.data["q"])
        self.Cat(self.data["kv.latent"], self.data["k.turning"], -1, self.data["k"])

    def attend(self, number: int, at: str, target: str) -> None:
        """Attention to latent vectors, and each head's value of what it gives."""
        data, latent = self.data, self.size("kv_lora_rank")
        self.LatentAttention(
            data["q"], data["pastKey."][number], data["k"], data["hidden"], data["attentionMask"], data[target],
            data["seqLens"], self.scale, latent,
        )  # fmt: skip
        self.ExpandHead(data[target], latent)
        self.expand_per_head(target, self.value_matrices(at))
        self.Flatten(data[target])
        self._sizes[target] = self.heads * self.value_dim

"""GLM-4: norms around each branch, half of each head turns, by neighbours."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder


class Glm4Model(Decoder):
    """The graph of `Glm4ForCausalLM`."""

    turns_neighbours = True

    @property
    def out_bias(self) -> bool:
        """Never."""
        return False

    def check_config(self) -> None:
        """Half of each head turns, where the config does not say."""
        if not self.config.get("rope_parameters") and self.config.get("partial_rotary_factor") is None:
            self.config["partial_rotary_factor"] = 0.5
        super().check_config()

    def layer(self, number: int, at: str) -> None:
        """Each branch is normalized before and after."""
        self.norm("hidden", f"{at}input_layernorm", "x")
        self.attention(number, f"{at}self_attn.", "x", "branch")
        self.norm("branch", f"{at}post_self_attn_layernorm", "branch")
        self.add_branch("branch")
        self.norm("hidden", f"{at}post_attention_layernorm", "x")
        self.fused_feed_forward(f"{at}mlp.", "x", "branch")
        self.norm("branch", f"{at}post_mlp_layernorm", "branch")
        self.add_branch("branch")


__model__ = Glm4Model

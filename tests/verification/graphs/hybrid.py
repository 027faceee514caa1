from ftllm.llm import ComputeGraph


class HybridModel(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim, eps = config["head_dim"], config["rms_norm_eps"]
        turning = int(head_dim * config["rope_parameters"]["partial_rotary_factor"])
        key_dim, value_dim = config["linear_key_head_dim"], config["linear_value_head_dim"]
        keys, values = key_dim * config["linear_num_key_heads"], value_dim * config["linear_num_value_heads"]
        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        for i, kind in enumerate(config["layer_types"]):
            layer = weight["model.layers."][i]
            attention, mixer, mlp = layer[".self_attn."], layer[".linear_attn."], layer[".mlp."]
            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["input"], 1)
            if kind == "full_attention":
                self.Linear(data["input"], attention["q_proj.weight"], None, data["both"])
                self.ExpandHead(data["both"], 2 * head_dim)
                self.Split(data["both"], -1, 0, head_dim, data["q"])
                self.Split(data["both"], -1, head_dim, 2 * head_dim, data["open"])
                for name in "kv":
                    self.Linear(data["input"], attention[name]["_proj.weight"], None, data[name])
                    self.ExpandHead(data[name], head_dim)
                for name in "qk":
                    self.RMSNorm(data[name], attention[name]["_norm.weight"], eps, data[name], 1)
                    self.LlamaRotatePosition2DPart(
                        data[name], data["positionIds"], data["sin"], data["cos"], turning, turning
                    )
                self.FusedAttention(
                    data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"], data["input"],
                    data["attentionMask"], data["attention"], data["seqLens"], head_dim ** -0.5,
                )
                self.Flatten(data["open"])
                self.Sigmoid(data["open"], data["open"])
                self.MulTo(data["attention"], data["open"])
                self.Linear(data["attention"], attention["o_proj.weight"], None, data["added"])
            else:
                self.Linear(data["input"], mixer["in_proj_qkv.weight"], None, data["mixed"])
                self.Linear(data["input"], mixer["in_proj_z.weight"], None, data["z"])
                self.Linear(data["input"], mixer["in_proj_b.weight"], None, data["beta"])
                self.Linear(data["input"], mixer["in_proj_a.weight"], None, data["decay"])
                self.CausalConv1D(
                    data["mixed"], mixer["conv1d.weight"], None, data["pastState.conv."][i], data["mixed"], 1
                )
                self.Split(data["mixed"], -1, 0, keys, data["key.q"])
                self.Split(data["mixed"], -1, keys, 2 * keys, data["key.k"])
                self.Split(data["mixed"], -1, 2 * keys, 2 * keys + values, data["value"])
                self.ExpandHead(data["key.q"], key_dim)
                self.ExpandHead(data["key.k"], key_dim)
                self.ExpandHead(data["value"], value_dim)
                self.L2Norm(data["key.q"], 1e-6, data["key.q"])
                self.L2Norm(data["key.k"], 1e-6, data["key.k"])
                self.Sigmoid(data["beta"], data["beta"])
                self.MambaSoftplus(data["decay"], mixer["A_log"], mixer["dt_bias"], data["decay"])
                self.RecurrentGatedDeltaRule(
                    data["key.q"], data["key.k"], data["value"], data["decay"], data["beta"],
                    data["pastState."][i], data["read"], key_dim ** -0.5,
                )
                self.ExpandHead(data["z"], value_dim)
                self.GatedRMSNorm(data["read"], data["z"], mixer["norm.weight"], eps, data["read"])
                self.Flatten(data["read"])
                self.Linear(data["read"], mixer["out_proj.weight"], None, data["added"])
            self.AddTo(data["hidden"], data["added"])
            self.RMSNorm(data["hidden"], layer[".post_attention_layernorm.weight"], eps, data["input"], 1)
            self.Linear(data["input"], mlp["gate_proj.weight"], None, data["gate"])
            self.Linear(data["input"], mlp["up_proj.weight"], None, data["up"])
            self.Silu(data["gate"], data["gate"])
            self.MulTo(data["gate"], data["up"])
            self.Linear(data["gate"], mlp["down_proj.weight"], None, data["added"])
            self.AddTo(data["hidden"], data["added"])
        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"], 1)
        self.Linear(data["last"], weight["lm_head.weight"], None, data["logits"])


__model__ = HybridModel

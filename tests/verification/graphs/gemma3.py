from ftllm.llm import ComputeGraph


class Gemma3Model(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim, eps = config["head_dim"], config["rms_norm_eps"]
        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        self.Mul(data["hidden"], config["hidden_size"] ** 0.5, data["hidden"])
        for i, kind in enumerate(config["layer_types"]):
            layer = weight["model.layers."][i]
            attention, mlp = layer[".self_attn."], layer[".mlp."]
            sin, cos = data["sin."][kind], data["cos."][kind]
            window = config["sliding_window"] if kind == "sliding_attention" else 0
            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["input"], 1)
            for name in "qkv":
                self.Linear(data["input"], attention[name]["_proj.weight"], attention[name]["_proj.bias"], data[name])
                self.ExpandHead(data[name], head_dim)
            self.RMSNorm(data["q"], 1 + attention["q_norm.weight"], eps, data["q"])
            self.RMSNorm(data["k"], 1 + attention["k_norm.weight"], eps, data["k"])
            self.LlamaRotatePosition2D(data["q"], data["positionIds"], sin, cos, head_dim)
            self.LlamaRotatePosition2D(data["k"], data["positionIds"], sin, cos, head_dim)
            self.FusedAttention(
                data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"], data["input"],
                data["attentionMask"], data["attention"], data["seqLens"], config["query_pre_attn_scalar"] ** -0.5,
                window=window,
            )
            self.Linear(data["attention"], attention["o_proj.weight"], attention["o_proj.bias"], data["added"])
            self.RMSNorm(data["added"], layer[".post_attention_layernorm.weight"], eps, data["added"], 1)
            self.AddTo(data["hidden"], data["added"])
            self.RMSNorm(data["hidden"], layer[".pre_feedforward_layernorm.weight"], eps, data["input"], 1)
            self.Linear(data["input"], mlp["gate_proj.weight"], mlp["gate_proj.bias"], data["gate"])
            self.Linear(data["input"], mlp["up_proj.weight"], mlp["up_proj.bias"], data["up"])
            self.GeluNew(data["gate"], data["gate"])
            self.MulTo(data["gate"], data["up"])
            self.Linear(data["gate"], mlp["down_proj.weight"], mlp["down_proj.bias"], data["added"])
            self.RMSNorm(data["added"], layer[".post_feedforward_layernorm.weight"], eps, data["added"], 1)
            self.AddTo(data["hidden"], data["added"])
        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"], 1)
        self.Linear(data["last"], weight["lm_head.weight"], None, data["logits"])


__model__ = Gemma3Model

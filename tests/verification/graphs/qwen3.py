from ftllm.llm import ComputeGraph


class Qwen3Model(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim, eps = config["head_dim"], config["rms_norm_eps"]
        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["model.layers."][i]
            attention, mlp = layer[".self_attn."], layer[".mlp."]
            window = config["sliding_window"] if i >= config["max_window_layers"] else 0
            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["input"])
            for name in "qkv":
                projection = attention[name]["_proj."]
                self.Linear(data["input"], projection["weight"], projection["bias"], data[name])
                self.ExpandHead(data[name], head_dim)
            self.RMSNorm(data["q"], attention["q_norm.weight"], eps, data["q"])
            self.RMSNorm(data["k"], attention["k_norm.weight"], eps, data["k"])
            for name in "qk":
                self.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.FusedAttention(
                data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"], data["input"],
                data["attentionMask"], data["attention"], data["seqLens"], head_dim ** -0.5, window=window,
            )
            self.Linear(data["attention"], attention["o_proj.weight"], attention["o_proj.bias"], data["added"])
            self.AddTo(data["hidden"], data["added"])
            self.RMSNorm(data["hidden"], layer[".post_attention_layernorm.weight"], eps, data["input"])
            self.Linear(data["input"], mlp["gate_proj.weight"], mlp["gate_proj.bias"], data["gate"])
            self.Linear(data["input"], mlp["up_proj.weight"], mlp["up_proj.bias"], data["up"])
            self.Silu(data["gate"], data["gate"])
            self.MulTo(data["gate"], data["up"])
            self.Linear(data["gate"], mlp["down_proj.weight"], mlp["down_proj.bias"], data["added"])
            self.AddTo(data["hidden"], data["added"])
        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])
        self.Linear(data["last"], weight["lm_head.weight"], weight["lm_head.bias"], data["logits"])


__model__ = Qwen3Model

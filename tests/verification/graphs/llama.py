from ftllm.llm import ComputeGraph


class LlamaModel(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        eps = config["rms_norm_eps"]
        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["model.layers."][i]
            attention, mlp = layer[".self_attn."], layer[".mlp."]
            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["input"])
            self.Linear(data["input"], attention["q_proj.weight"], attention["q_proj.bias"], data["q"])
            self.Linear(data["input"], attention["k_proj.weight"], attention["k_proj.bias"], data["k"])
            self.Linear(data["input"], attention["v_proj.weight"], attention["v_proj.bias"], data["v"])
            self.ExpandHead(data["q"], head_dim)
            self.ExpandHead(data["k"], head_dim)
            self.ExpandHead(data["v"], head_dim)
            self.LlamaRotatePosition2D(data["q"], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.LlamaRotatePosition2D(data["k"], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.FusedAttention(
                data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"], data["input"],
                data["attentionMask"], data["attention"], data["seqLens"], head_dim ** -0.5,
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


__model__ = LlamaModel

from ftllm.llm import ComputeGraph


class GraniteModel(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        eps, residual = config["rms_norm_eps"], config["residual_multiplier"]
        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        self.Mul(data["hidden"], config["embedding_multiplier"], data["hidden"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["model.layers."][i]
            attention, mlp = layer[".self_attn."], layer[".mlp."]
            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["input"])
            for name in "qkv":
                self.Linear(data["input"], attention[name]["_proj.weight"], attention[name]["_proj.bias"], data[name])
                self.ExpandHead(data[name], head_dim)
            for name in "qk":
                self.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.FusedAttention(
                data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"], data["input"],
                data["attentionMask"], data["attention"], data["seqLens"], config["attention_multiplier"],
            )
            self.Linear(data["attention"], attention["o_proj.weight"], attention["o_proj.bias"], data["added"])
            self.AddTo(data["hidden"], data["added"], residual)
            self.RMSNorm(data["hidden"], layer[".post_attention_layernorm.weight"], eps, data["input"])
            self.Linear(data["input"], mlp["gate_proj.weight"], mlp["gate_proj.bias"], data["gate"])
            self.Linear(data["input"], mlp["up_proj.weight"], mlp["up_proj.bias"], data["up"])
            self.Silu(data["gate"], data["gate"])
            self.MulTo(data["gate"], data["up"])
            self.Linear(data["gate"], mlp["down_proj.weight"], mlp["down_proj.bias"], data["added"])
            self.AddTo(data["hidden"], data["added"], residual)
        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])
        self.Linear(data["last"], weight["lm_head.weight"], None, data["logits"])
        self.Mul(data["logits"], 1 / config["logits_scaling"], data["logits"])


__model__ = GraniteModel

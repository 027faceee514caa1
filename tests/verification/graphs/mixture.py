from ftllm.llm import ComputeGraph


class MixtureModel(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim, eps = config["head_dim"], config["rms_norm_eps"]
        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["model.layers."][i]
            attention, mlp = layer[".self_attn."], layer[".mlp."]
            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["input"])
            for name in "qkv":
                self.Linear(data["input"], attention[name]["_proj.weight"], attention[name]["_proj.bias"], data[name])
                self.ExpandHead(data[name], head_dim)
            for name in "qk":
                self.RMSNorm(data[name], attention[name]["_norm.weight"], eps, data[name])
                self.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.FusedAttention(
                data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"], data["input"],
                data["attentionMask"], data["attention"], data["seqLens"], head_dim ** -0.5,
            )
            self.Linear(data["attention"], attention["o_proj.weight"], attention["o_proj.bias"], data["added"])
            self.AddTo(data["hidden"], data["added"])
            self.RMSNorm(data["hidden"], layer[".post_attention_layernorm.weight"], eps, data["input"])
            self.Linear(data["input"], mlp["gate.weight"], None, data["scores"])
            self.SoftMax(data["scores"], data["scores"])
            self.SelectExpert(data["scores"], data["experts"], data["shares"], config["num_experts_per_tok"], 1)
            gate, up, down = (
                [mlp["experts."][number][f".{name}_proj.weight"] for number in range(config["num_local_experts"])]
                for name in ("gate", "up", "down")
            )
            self.MergeMOE(data["input"], data["experts"], data["shares"], gate, up, down, data["added"])
            self.AddTo(data["hidden"], data["added"])
        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])
        self.Linear(data["last"], weight["lm_head.weight"], None, data["logits"])


__model__ = MixtureModel

from ftllm.llm import ComputeGraph


class NeoXModel(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
        size = config["hidden_size"] // heads
        turning = size // 4
        self.Embedding(data["inputIds"], weight["gpt_neox.embed_in.weight"], data["hidden"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["gpt_neox.layers."][i]
            attention, mlp = layer[".attention."], layer[".mlp."]
            before, after = layer[".input_layernorm."], layer[".post_attention_layernorm."]
            fused = attention["query_key_value."]
            self.LayerNorm(data["hidden"], before["weight"], before["bias"], -1, data["input"], eps)
            self.Linear(data["input"], fused["weight"], fused["bias"], data["qkv"])
            self.ExpandHead(data["qkv"], 3 * size)
            self.Split(data["qkv"], -1, 0, size, data["q"])
            self.Split(data["qkv"], -1, size, 2 * size, data["k"])
            self.Split(data["qkv"], -1, 2 * size, 3 * size, data["v"])
            for name in "qk":
                self.LlamaRotatePosition2DPart(
                    data[name], data["positionIds"], data["sin"], data["cos"], turning, turning
                )
            self.FusedAttention(
                data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"], data["input"],
                data["attentionMask"], data["attention"], data["seqLens"], size ** -0.5,
            )
            self.Linear(data["attention"], attention["dense.weight"], attention["dense.bias"], data["branch"])
            self.LayerNorm(data["hidden"], after["weight"], after["bias"], -1, data["input"], eps)
            self.Linear(data["input"], mlp["dense_h_to_4h.weight"], mlp["dense_h_to_4h.bias"], data["inner"])
            self.Gelu(data["inner"], data["inner"])
            self.Linear(data["inner"], mlp["dense_4h_to_h.weight"], mlp["dense_4h_to_h.bias"], data["other"])
            self.AddTo(data["hidden"], data["branch"])
            self.AddTo(data["hidden"], data["other"])
        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        norm = weight["gpt_neox.final_layer_norm."]
        self.LayerNorm(data["last"], norm["weight"], norm["bias"], -1, data["last"], eps)
        self.Linear(data["last"], weight["embed_out.weight"], None, data["logits"])


__model__ = NeoXModel

from ftllm.llm import ComputeGraph


class FalconModel(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        heads, groups, eps = config["num_attention_heads"], config["num_kv_heads"], config["layer_norm_epsilon"]
        size, queries = config["hidden_size"] // heads, heads // groups
        self.Embedding(data["inputIds"], weight["transformer.word_embeddings.weight"], data["hidden"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["transformer.h."][i]
            attention, mlp = layer[".self_attention."], layer[".mlp."]
            for name in ("attn", "mlp"):
                norm = layer[".ln_"][name]
                self.LayerNorm(data["hidden"], norm[".weight"], norm[".bias"], -1, data[name], eps)
            self.Linear(data["attn"], attention["query_key_value.weight"], None, data["qkv"])
            self.ExpandHead(data["qkv"], (queries + 2) * size)
            self.Split(data["qkv"], -1, 0, queries * size, data["q"])
            self.Split(data["qkv"], -1, queries * size, (queries + 1) * size, data["k"])
            self.Split(data["qkv"], -1, (queries + 1) * size, (queries + 2) * size, data["v"])
            self.Flatten(data["q"])
            self.ExpandHead(data["q"], size)
            for name in "qk":
                self.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], size)
            self.FusedAttention(
                data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"], data["attn"],
                data["attentionMask"], data["attention"], data["seqLens"], size ** -0.5,
            )
            self.Linear(data["attention"], attention["dense.weight"], None, data["branch"])
            self.Linear(data["mlp"], mlp["dense_h_to_4h.weight"], None, data["inner"])
            self.Gelu(data["inner"], data["inner"])
            self.Linear(data["inner"], mlp["dense_4h_to_h.weight"], None, data["other"])
            self.AddTo(data["hidden"], data["branch"])
            self.AddTo(data["hidden"], data["other"])
        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        norm = weight["transformer.ln_f."]
        self.LayerNorm(data["last"], norm["weight"], norm["bias"], -1, data["last"], eps)
        self.Linear(data["last"], weight["lm_head.weight"], None, data["logits"])


__model__ = FalconModel

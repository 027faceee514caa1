from ftllm.llm import ComputeGraph

# TeleChat as a custom model:  ftllm-nb chat -p ~/TeleChat-7B/ --custom examples/telechat.py
#
# Its config.json calls things by other names, so build() assigns what is read from the config afterwards: the
# longest context, the rotary base, and the pieces of a prompt, since the folder has no chat template.


class TeleChatModel(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim = config["hidden_size"] // config["n_head"]
        eps = config["layer_norm_epsilon"]

        config["max_positions"] = config["seq_length"]
        config["head_dim"] = head_dim
        config["rope_base"] = 10000 * 3 ** (head_dim / (head_dim - 2))
        config["pre_prompt"] = ""
        config["user_role"] = "<_user>"
        config["bot_role"] = "<_bot>"
        config["history_sep"] = ""

        self.Embedding(data["inputIds"], weight["transformer.word_embeddings.weight"], data["hiddenStates"])
        self.DataTypeAs(data["hiddenStates"], data["atype"])
        for i in range(config["n_layer"]):
            layer = weight["transformer.h."][i]
            attention = layer[".self_attention"]

            # key_value gives the key and the value of head 0, then those of head 1, and so on.
            self.RMSNorm(data["hiddenStates"], layer[".input_layernorm.weight"], eps, data["input"])
            self.Linear(data["input"], attention[".query.weight"], attention[".query.bias"], data["q"])
            self.Linear(data["input"], attention[".key_value.weight"], attention[".key_value.bias"],
                        data["kv"])
            self.ExpandHead(data["q"], head_dim)
            self.ExpandHead(data["kv"], 2 * head_dim)
            self.Split(data["kv"], -1, 0, head_dim, data["k"])
            self.Split(data["kv"], -1, head_dim, 2 * head_dim, data["v"])
            self.LlamaRotatePosition2D(data["q"], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.LlamaRotatePosition2D(data["k"], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.FusedAttention(data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"],
                                data["input"], data["attentionMask"], data["attention"], data["seqLens"],
                                head_dim ** -0.5)
            self.Linear(data["attention"], attention[".dense.weight"], attention[".dense.bias"],
                        data["output"])
            self.AddTo(data["hiddenStates"], data["output"])

            self.RMSNorm(data["hiddenStates"], layer[".post_attention_layernorm.weight"], eps, data["input"])
            self.Linear(data["input"], layer[".mlp.gate_proj.weight"], layer[".mlp.gate_proj.bias"],
                        data["gate"])
            self.Linear(data["input"], layer[".mlp.up_proj.weight"], layer[".mlp.up_proj.bias"], data["up"])
            self.Silu(data["gate"], data["gate"])
            self.MulTo(data["gate"], data["up"])
            self.Linear(data["gate"], layer[".mlp.down_proj.weight"], layer[".mlp.down_proj.bias"],
                        data["output"])
            self.AddTo(data["hiddenStates"], data["output"])

        self.SplitLastTokenStates(data["hiddenStates"], data["seqLens"], data["lastStates"])
        self.RMSNorm(data["lastStates"], weight["transformer.ln_f.weight"], eps, data["lastStates"])
        self.Linear(data["lastStates"], weight["lm_head.weight"], weight["lm_head.bias"], data["logits"])


__model__ = TeleChatModel

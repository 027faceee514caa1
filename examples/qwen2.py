from ftllm.llm import ComputeGraph

# Qwen2 as a custom model:  ftllm-nb chat -p ~/Qwen2-7B-Instruct/ --custom examples/qwen2.py


class Qwen2Model(ComputeGraph):
    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        eps = config["rms_norm_eps"]

        # inputIds: the tokens of all sequences of a step, end to end; hiddenStates: [1, tokens, hidden_size]
        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hiddenStates"]);
        self.DataTypeAs(data["hiddenStates"], data["atype"]);
        for i in range(config["num_hidden_layers"]):
            layer = weight["model.layers."][i]

            # Attention: q, k and v become [1, tokens, heads, head_dim]; k and v go to the layer's cache.
            self.RMSNorm(data["hiddenStates"], layer[".input_layernorm.weight"], eps, data["input"]);
            self.Linear(data["input"], layer[".self_attn.q_proj.weight"], layer[".self_attn.q_proj.bias"],
                        data["q"]);
            self.Linear(data["input"], layer[".self_attn.k_proj.weight"], layer[".self_attn.k_proj.bias"],
                        data["k"]);
            self.Linear(data["input"], layer[".self_attn.v_proj.weight"], layer[".self_attn.v_proj.bias"],
                        data["v"]);
            self.ExpandHead(data["q"], head_dim);
            self.ExpandHead(data["k"], head_dim);
            self.ExpandHead(data["v"], head_dim);
            self.LlamaRotatePosition2D(data["q"], data["positionIds"], data["sin"], data["cos"],
                                       head_dim // 2);
            self.LlamaRotatePosition2D(data["k"], data["positionIds"], data["sin"], data["cos"],
                                       head_dim // 2);
            self.FusedAttention(data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"],
                                data["input"], data["attentionMask"], data["attention"], data["seqLens"],
                                scale=head_dim ** -0.5);
            # The checkpoint holds no such bias: then there is none.
            self.Linear(data["attention"], layer[".self_attn.o_proj.weight"], layer[".self_attn.o_proj.bias"],
                        data["output"]);
            self.AddTo(data["hiddenStates"], data["output"]);

            # Feed-forward: down(silu(gate(x)) * up(x))
            self.RMSNorm(data["hiddenStates"], layer[".post_attention_layernorm.weight"], eps, data["input"]);
            self.Linear(data["input"], layer[".mlp.gate_proj.weight"], layer[".mlp.gate_proj.bias"],
                        data["gate"]);
            self.Linear(data["input"], layer[".mlp.up_proj.weight"], layer[".mlp.up_proj.bias"], data["up"]);
            self.Silu(data["gate"], data["gate"]);
            self.MulTo(data["gate"], data["up"]);
            self.Linear(data["gate"], layer[".mlp.down_proj.weight"], layer[".mlp.down_proj.bias"],
                        data["output"]);
            self.AddTo(data["hiddenStates"], data["output"]);

        # Logits are wanted for the last token of each sequence. Tied embeddings: where there is no
        # lm_head.weight, the Linear that writes logits takes the embedding's.
        self.SplitLastTokenStates(data["hiddenStates"], data["seqLens"], data["lastStates"]);
        self.RMSNorm(data["lastStates"], weight["model.norm.weight"], eps, data["lastStates"]);
        self.Linear(data["lastStates"], weight["lm_head.weight"], weight["lm_head.bias"], data["logits"]);


__model__ = Qwen2Model

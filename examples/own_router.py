"""A mixture of experts with a router of its own, compiled by Numba from a function of one token.

    ftllm-nb chat --custom examples/own_router.py
    ftllm-nb bench --custom examples/own_router.py --profile                 # routing, gate, up, down, sum

The bundled model has no experts: each feed-forward is cut into PARTS, whose sum it is. The router takes all of them, so
that the model answers as it does. A real one reads the token and takes a few: `self.SelectExpert(…)` does what the
usual ones do, and --custom files of models with experts name their matrices as lists or stacks, as MergeMOE takes them.
"""

from ftllm.llm import ComputeGraph

from ftllm_nb.extend import Kind, Operator, Parameter, per_row

PARTS = 4
"""Experts that a feed-forward is cut into."""


class TakeAll(Operator):
    """index = 0, 1, …, picks − 1, and score = 1, for each token of the input"""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("index", Kind.OUTPUT),
        Parameter("score", Kind.OUTPUT),
        Parameter("picks", Kind.INT),
    )

    @staticmethod
    def infer(input, picks):
        """Two of [1, tokens, picks]."""
        return input.with_shape(*input.shape[:2], picks), input.with_shape(*input.shape[:2], picks)

    @staticmethod
    def reference(step, input, picks):
        """The definition: float32 arrays in, float32 arrays out. Experts are numbered from 0."""
        index = input[..., :1] * 0 + range(picks)
        return index, index * 0 + 1

    @per_row
    def each_token(input, index, score, picks):
        """What Numba compiles: one token's numbers in, one token's numbers written."""
        for pick in range(picks):
            index[pick] = pick
            score[pick] = 1


class MixtureModel(ComputeGraph):
    """Qwen2 whose feed-forwards are sums of experts."""

    operators = (TakeAll,)

    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        eps, size = config["rms_norm_eps"], config["intermediate_size"] // PARTS

        self.Embedding(data["inputIds"], weight["model.embed_tokens.weight"], data["hidden"])
        for i in range(config["num_hidden_layers"]):
            layer = weight["model.layers."][i]
            self.RMSNorm(data["hidden"], layer[".input_layernorm.weight"], eps, data["input"])
            for name in "qkv":
                self.linear(data["input"], layer[f".self_attn.{name}_proj"], data[name])
                self.ExpandHead(data[name], head_dim)
            for name in "qk":
                self.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], head_dim)
            self.FusedAttention(data["q"], data["pastKey."][i], data["pastValue."][i], data["k"], data["v"],
                                data["input"], data["attentionMask"], data["attention"], data["seqLens"],
                                scale=head_dim ** -0.5)
            self.linear(data["attention"], layer[".self_attn.o_proj"], data["output"])
            self.AddTo(data["hidden"], data["output"])

            self.RMSNorm(data["hidden"], layer[".post_attention_layernorm.weight"], eps, data["input"])
            self.TakeAll(data["input"], data["index"], data["score"], PARTS)
            starts = range(0, PARTS * size, size)
            gate = [layer[".mlp.gate_proj.weight"].rows(start, start + size) for start in starts]
            up = [layer[".mlp.up_proj.weight"].rows(start, start + size) for start in starts]
            down = [layer[".mlp.down_proj.weight"].part(1, start, start + size) for start in starts]
            self.MergeMOE(data["input"], data["index"], data["score"], gate, up, down, data["output"])
            self.AddTo(data["hidden"], data["output"])

        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])
        self.linear(data["last"], weight["lm_head"], data["logits"])

    def linear(self, source, layer, target):
        """A Linear whose tensors have the usual names; a bias that the checkpoint lacks is none."""
        self.Linear(source, layer[".weight"], layer[".bias"], target)


__model__ = MixtureModel

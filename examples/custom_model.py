"""A model of one's own in Python: described by a class, loaded, and asked, each answer printed as it is made.

    python examples/custom_model.py                                     # the bundled demo model
    python examples/custom_model.py ~/Qwen2-7B-Instruct "Who are you?"  # a folder, and one question or more
"""

import sys

from ftllm_nb import llm
from ftllm_nb.errors import FtllmError


class Qwen2Model(llm.ComputeGraph):
    """Qwen2, as in qwen2.py but shorter: by loops and a method of its own."""

    def build(self):
        weight, data, config = self.weight, self.data, self.config
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        eps = config["rms_norm_eps"]

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
            for name in ("gate", "up"):
                self.linear(data["input"], layer[f".mlp.{name}_proj"], data[name])
            self.Silu(data["gate"], data["gate"])
            self.MulTo(data["gate"], data["up"])
            self.linear(data["gate"], layer[".mlp.down_proj"], data["output"])
            self.AddTo(data["hidden"], data["output"])

        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])
        self.linear(data["last"], weight["lm_head"], data["logits"])

    def linear(self, source, layer, target):
        """A Linear whose tensors have the usual names; a bias that the checkpoint lacks is none."""
        self.Linear(source, layer[".weight"], layer[".bias"], target)


def main(path="demo", *questions):
    history = []
    with llm.model(path, graph=Qwen2Model) as model:
        for question in questions or ("My name is Alice.", "What is my name?"):
            print(f"> {question}")
            answer = ""
            for piece in model.stream_response(question, history, temperature=0):
                print(piece, end="", flush=True)
                answer += piece
            print()
            history.append((question, answer))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FtllmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

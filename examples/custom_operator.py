"""A model file with an operator of its own: what it computes, in NumPy, and a kernel that Numba compiles.

    ftllm-nb chat --custom examples/custom_operator.py
    ftllm-nb chat --custom examples/custom_operator.py --engine reference    # by the NumPy definition
    ftllm-nb bench --custom examples/custom_operator.py --profile            # what the operator costs

Begin without `lower`: such an operator runs as its reference says. Add a kernel when the model answers well.
"""

from ftllm.llm import ComputeGraph

from ftllm_nb.extend import (
    Kind,
    Operator,
    Parameter,
    argument,
    features,
    field,
    kernel,
    require_same_shape,
    row_fields,
    take_chunk,
)
from ftllm_nb.kernels.exp import sigmoid
from ftllm_nb.kernels.simd import load_vector_partial, store_vector_partial
from ftllm_nb.ops.silu import silu

GATE = row_fields("gate", "gate_stride", "up", "up_stride", "output", "output_stride", "size", "count")
"""The kernel's arguments: addresses, bytes from token to token, features of a token, the field that counts tokens."""


@kernel()
def gate_kernel(row, step, worker):
    """One row of the program. Threads take tokens until none is left; 16 floats are computed at a time."""
    size = argument(row, GATE.size)
    num_tokens = field(step, argument(row, GATE.count))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        gate = argument(row, GATE.gate) + token * argument(row, GATE.gate_stride)
        up = argument(row, GATE.up) + token * argument(row, GATE.up_stride)
        output = argument(row, GATE.output) + token * argument(row, GATE.output_stride)
        for at in range(0, size, 16):
            x = load_vector_partial(gate + 4 * at, size - at)
            product = x * sigmoid(x) * load_vector_partial(up + 4 * at, size - at)
            store_vector_partial(output + 4 * at, product, size - at)
        token = take_chunk(worker, num_tokens)


class Gate(Operator):
    """output = input0 · sigmoid(input0) · input1"""

    parameters = (Parameter("input0", Kind.INPUT), Parameter("input1", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input0, input1):
        """The output's type; a ShapeError becomes a sentence at the line of build() that calls the operator."""
        require_same_shape(input0, "input0", input1, "input1")
        return input0

    @staticmethod
    def reference(step, input0, input1):
        """The definition: float32 arrays in, a float32 array out."""
        return silu(input0) * input1

    @classmethod
    def lower(cls, node, lowering):
        """The kernel's row: where each token's numbers begin, in bytes, and how far the next token's are."""
        gate, up, output = (
            lowering.place(tensor) for tensor in (node.inputs["input0"], node.inputs["input1"], node.outputs["output"])
        )
        lowering.add(
            gate_kernel,
            *GATE.values(
                gate=gate.address, gate_stride=gate.stride, up=up.address, up_stride=up.stride,
                output=output.address, output_stride=output.stride,
                size=features(node.inputs["input0"]), count=lowering.count(node.inputs["input0"]),
            ),
        )  # fmt: skip


class GatedModel(ComputeGraph):
    """Qwen2 with `self.Gate(…)` where other files call Silu and MulTo."""

    operators = (Gate,)

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
            self.Gate(data["gate"], data["up"], data["gated"])
            self.linear(data["gated"], layer[".mlp.down_proj"], data["output"])
            self.AddTo(data["hidden"], data["output"])

        self.SplitLastTokenStates(data["hidden"], data["seqLens"], data["last"])
        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])
        self.linear(data["last"], weight["lm_head"], data["logits"])

    def linear(self, source, layer, target):
        """A Linear whose tensors have the usual names; a bias that the checkpoint lacks is none."""
        self.Linear(source, layer[".weight"], layer[".bias"], target)


__model__ = GatedModel

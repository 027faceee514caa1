"""Mistakes that people make in a model's file, planted into the right ones of graphs/. Shapes fit, so that no error
tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.oracle.config_parts import DELTA, LINEAR

GRAPHS = Path(__file__).parent / "graphs"
SLIDING, FULL = "sliding_attention", "full_attention"
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"head_dim": 12, "num_key_value_heads": 4, "attention_bias": True, "rms_norm_eps": 1e-5}),
    "qwen3": ("qwen3", {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 2}),
    "gemma3": ("gemma3_text", {
        "sliding_window": 12, "query_pre_attn_scalar": 10, "layer_types": [SLIDING, SLIDING, FULL, SLIDING],
        "rope_parameters": {FULL: {"rope_type": "default", "rope_theta": 1e6},
                            SLIDING: {"rope_type": "default", "rope_theta": 1e4}},
    }),
    "gemma2": ("gemma2", {"sliding_window": 12, "query_pre_attn_scalar": 10, "attn_logit_softcapping": 2.0,
                          "final_logit_softcapping": 3.0}),
    "gpt_neox": ("gpt_neox", {"head_dim": None, "hidden_size": 64}),
    "falcon": ("falcon", {"head_dim": None, "hidden_size": 64, "num_attention_heads": 8, "num_kv_heads": 2,
                          "new_decoder_architecture": True, "hidden_act": "gelu"}),
    "mixture": ("qwen3_moe", {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
                              "norm_topk_prob": True, "rms_norm_eps": 1e-5}),
    "granite": ("granite", {"head_dim": None, "embedding_multiplier": 6.0, "residual_multiplier": 0.3,
                            "attention_multiplier": 0.4, "logits_scaling": 5.0}),
    "hybrid": ("qwen3_5_text", DELTA | {"num_hidden_layers": 3, "layer_types": [LINEAR, LINEAR, FULL]}),
}  # fmt: skip
"""By file of graphs/: transformers' architecture, and what its config has besides the SIZES of the oracle."""


@dataclass(frozen=True)
class Fault:
    """`old` in the file of `model` becomes `new`; `cause`: words that the cause has, which is "" where none is asked
    for. `more`: what else is replaced, old and new."""

    model: str
    name: str
    old: str
    new: str
    cause: str = ""
    more: tuple[tuple[str, str], ...] = ()

    @property
    def source(self) -> str:
        """The file with the fault."""
        text = (GRAPHS / f"{self.model}.py").read_text(encoding="utf-8")
        for old, new in ((self.old, self.new), *self.more):
            assert text.count(old) == 1, self
            text = text.replace(old, new)
        return text


def _swap(model: str, name: str, one: str, other: str, cause: str = "") -> Fault:
    """Two lines that follow each other, in the other order."""
    return Fault(model, name, one + other, other + one, cause)


_K = '            self.LlamaRotatePosition2D(data["k"], data["positionIds"], data["sin"], data["cos"], head_dim)\n'
_ADD = '            self.AddTo(data["hidden"], data["added"])\n'
_Q_NORM = '            self.RMSNorm(data["q"], attention["q_norm.weight"], eps, data["q"])\n'
_K_NORM = '            self.RMSNorm(data["k"], attention["k_norm.weight"], eps, data["k"])\n'
_TURN = """            for name in "qk":
                self.LlamaRotatePosition2D(data[name], data["positionIds"], data["sin"], data["cos"], head_dim)
"""
_FUSED = '            self.Linear(data["input"], fused["weight"], fused["bias"], data["qkv"])\n'
_PER_HEAD = """            self.ExpandHead(data["qkv"], 3 * size)
            self.Split(data["qkv"], -1, 0, size, data["q"])
            self.Split(data["qkv"], -1, size, 2 * size, data["k"])
            self.Split(data["qkv"], -1, 2 * size, 3 * size, data["v"])
"""
_BLOCKS = """            whole = size * heads
            for number, name in enumerate("qkv"):
                self.Split(data["qkv"], -1, number * whole, (number + 1) * whole, data[name])
                self.ExpandHead(data[name], size)
"""
_ROWS = """            whole = size * heads
            for number, name in enumerate("qkv"):
                start, end = number * whole, (number + 1) * whole
                self.Linear(data["input"], fused["weight"].rows(start, end), fused["bias"].rows(start, end), data[name])
                self.ExpandHead(data[name], size)
"""
_GROUPS = """            self.ExpandHead(data["qkv"], (queries + 2) * size)
            self.Split(data["qkv"], -1, 0, queries * size, data["q"])
            self.Split(data["qkv"], -1, queries * size, (queries + 1) * size, data["k"])
            self.Split(data["qkv"], -1, (queries + 1) * size, (queries + 2) * size, data["v"])
            self.Flatten(data["q"])
            self.ExpandHead(data["q"], size)
"""
_ENDS = "            ends = [0, heads * size, (heads + groups) * size, (heads + 2 * groups) * size]\n"
_GROUPED_BLOCKS = f"""{_ENDS}            for number, name in enumerate("qkv"):
                self.Split(data["qkv"], -1, ends[number], ends[number + 1], data[name])
                self.ExpandHead(data[name], size)
"""
_GROUPED = '            self.Linear(data["attn"], attention["query_key_value.weight"], None, data["qkv"])\n'
_GROUPED_ROWS = f"""{_ENDS}            for number, name in enumerate("qkv"):
                rows = attention["query_key_value.weight"].rows(ends[number], ends[number + 1])
                self.Linear(data["attn"], rows, None, data[name])
                self.ExpandHead(data[name], size)
"""
_SILU = '            self.Silu(data["gate"], data["gate"])\n'
_SECOND_NORM = (
    '            self.RMSNorm(data["hidden"], layer[".post_attention_layernorm.weight"], eps, data["input"])\n'
)
_LAST = '        self.RMSNorm(data["last"], weight["model.norm.weight"], eps, data["last"])\n'
_POST = '            self.RMSNorm(data["added"], layer[".post_attention_layernorm.weight"], eps, data["added"], 1)\n'

FAULTS = (
    Fault("llama", "up forgotten", '            self.MulTo(data["gate"], data["up"])\n', "",
          'MulTo of data["gate"] by data["up"], which nothing reads'),
    Fault("llama", "scale without the root", "head_dim ** -0.5", "1 / head_dim", "scale"),
    Fault("llama", "no scale", "head_dim ** -0.5", "1.0", "scale"),
    Fault("llama", "another eps", '[".input_layernorm.weight"], eps', '[".input_layernorm.weight"], 1e-3', "eps"),
    Fault("llama", "another eps at the end", 'weight["model.norm.weight"], eps', 'weight["model.norm.weight"], 1e-2',
          "eps"),
    Fault("llama", "rotary on neighbours", 'self.LlamaRotatePosition2D(data["q"]',
          'self.NearlyRotatePosition2D(data["q"]', "rotation"),
    Fault("llama", "k not rotated", _K, "", "not rotated"),
    Fault("llama", "v rotated as well", _K, _K + _K.replace('"k"', '"v"'), "without"),
    Fault("llama", "q rotated twice", _K, _K.replace('"k"', '"q"') + _K, "without"),
    Fault("llama", "half of a head rotated", 'data["k"], data["positionIds"], data["sin"], data["cos"], head_dim',
          'data["k"], data["positionIds"], data["sin"], data["cos"], head_dim // 4', "rotaryDim"),
    Fault("llama", "another base", "        eps = config",
          '        config["rope_parameters"] = {"rope_type": "default", "rope_theta": 5e5}\n        eps = config',
          "base"),
    Fault("llama", "silu of up", 'self.Silu(data["gate"], data["gate"])', 'self.Silu(data["up"], data["up"])', "gate"),
    Fault("llama", "gelu for silu", 'self.Silu(data["gate"]', 'self.GeluNew(data["gate"]', "Silu"),
    Fault("llama", "no activation", '            self.Silu(data["gate"], data["gate"])\n', "", "missing"),
    Fault("llama", "bias forgotten", 'attention["v_proj.bias"]', "None", "bias"),
    Fault("llama", "bias misspelt", 'attention["o_proj.bias"]', 'attention["o_proj.biases"]', "bias"),
    Fault("llama", "the bias of another", 'attention["k_proj.bias"]', 'attention["q_proj.bias"]', "bias"),
    Fault("llama", "q and k exchanged", 'data["pastValue."][i], data["k"], data["v"], data["input"],\n',
          'data["pastValue."][i], data["q"], data["v"], data["input"],\n'),
    Fault("llama", "k and v exchanged", 'data["pastValue."][i], data["k"], data["v"], data["input"],\n',
          'data["pastValue."][i], data["v"], data["k"], data["input"],\n', "exchanged"),
    Fault("llama", "gate by the weights of up", 'mlp["gate_proj.weight"], mlp["gate_proj.bias"], data["gate"]',
          'mlp["up_proj.weight"], mlp["gate_proj.bias"], data["gate"]', "gate_proj"),
    Fault("llama", "the weights of another layer", 'attention["k_proj.weight"]',
          'weight["model.layers.0.self_attn.k_proj.weight"]', "weight"),
    Fault("llama", "transposed", 'attention["o_proj.weight"]', 'attention["o_proj.weight"].transposed()', "transposed"),
    Fault("llama", "a residual forgotten", _ADD + '            self.RMSNorm(data["hidden"], layer[".post',
          '            self.RMSNorm(data["hidden"], layer[".post'),
    Fault("llama", "the norm of another place", '[".post_attention_layernorm.weight"]', '[".input_layernorm.weight"]',
          "post_attention_layernorm"),
    Fault("llama", "two norms' weights exchanged",
          '[".input_layernorm.weight"]', '[".post_attention_layernorm.weight"]', "are exchanged: RMSNorm at ",
          ((_ADD + _SECOND_NORM, _ADD + _SECOND_NORM.replace("post_attention", "input")),)),
    Fault("llama", "feed-forward of what is not normed", 'self.Linear(data["input"], mlp["up_proj.weight"]',
          'self.Linear(data["hidden"], mlp["up_proj.weight"]', "reads"),
    Fault("llama", "no last norm", _LAST, "", "norm is missing"),
    Fault("llama", "tied where it is not", 'weight["lm_head.weight"]', 'weight["model.embed_tokens.weight"]',
          "lm_head"),
    Fault("llama", "1 + w where it is w", 'weight["model.norm.weight"]', '1 + weight["model.norm.weight"]', "alone"),
    Fault("llama", "subtracted", 'self.AddTo(data["hidden"], data["added"])\n            self.RMSNorm',
          'self.AddTo(data["hidden"], data["added"], -1.0)\n            self.RMSNorm', "alpha"),
    Fault("llama", "layer norm for rms norm", _LAST.strip(),
          'self.LayerNorm(data["last"], weight["model.norm.weight"], None, -1, data["last"], eps)', "RMSNorm"),
    Fault("llama", "a residual twice", _ADD + '            self.RMSNorm(data["hidden"], layer[".post',
          2 * _ADD + '            self.RMSNorm(data["hidden"], layer[".post', "without AddTo"),
    Fault("llama", "what is normed goes on", 'mlp["down_proj.bias"], data["added"])\n',
          'mlp["down_proj.bias"], data["added"])\n            self.Add(data["input"], 0.0, data["hidden"])\n',
          'with data["hidden"]'),
    Fault("llama", "feed-forward of attention's norm", _SECOND_NORM, "", "RMSNorm of data"),
    Fault("llama", "normed twice at the end", _LAST, 2 * _LAST, "without RMSNorm"),
    Fault("llama", "embeddings of positions", 'data["inputIds"]', 'data["positionIds"]', "inputIds"),
    Fault("llama", "rotary by numbers of its own",
          'self.LlamaRotatePosition2D(data["q"], data["positionIds"], data["sin"], data["cos"], head_dim)',
          'self.RopeEncoding(data["q"], data["positionIds"], head_dim, 5000.0)', 'by data["sin"] and data["cos"]'),
    Fault("llama", "activation after the product",
          _SILU + '            self.MulTo(data["gate"], data["up"])\n',
          '            self.MulTo(data["gate"], data["up"])\n' + _SILU, "the order"),
    Fault("qwen3", "no norm of q", _Q_NORM, "", "norm is missing"),
    Fault("qwen3", "the norm of k by that of q", 'attention["k_norm.weight"]', 'attention["q_norm.weight"]', "k_norm"),
    _swap("qwen3", "norm after the rotation", _K_NORM, _TURN),
    Fault("qwen3", "no window", "window=window", "window=0", "window"),
    Fault("qwen3", "a window too long by one", "window=window", "window=window and window + 1", "window"),
    Fault("qwen3", "all see all", "head_dim ** -0.5, window=window", "head_dim ** -0.5, maskType=2", "maskType"),
    Fault("gemma3", "the embedding not scaled",
          '        self.Mul(data["hidden"], config["hidden_size"] ** 0.5, data["hidden"])\n', ""),
    Fault("gemma3", "scaled without the root", 'config["hidden_size"] ** 0.5', 'config["hidden_size"] * 1.0'),
    Fault("gemma3", "w where it is 1 + w", '1 + attention["q_norm.weight"]', 'attention["q_norm.weight"]', "offset"),
    Fault("gemma3", "no offset", '[".post_feedforward_layernorm.weight"], eps, data["added"], 1)',
          '[".post_feedforward_layernorm.weight"], eps, data["added"])', "offset"),
    Fault("gemma3", "scale by the head", 'config["query_pre_attn_scalar"] ** -0.5', "head_dim ** -0.5", "scale"),
    Fault("gemma3", "one table for all layers", 'sin, cos = data["sin."][kind], data["cos."][kind]',
          'sin, cos = data["sin.sliding_attention"], data["cos.sliding_attention"]', "rotation"),
    Fault("gemma3", "silu for gelu", "self.GeluNew", "self.Silu", "Gelu"),
    _swap("gemma3", "normed after it was added", _POST, _ADD),
    Fault("gemma3", "a norm too few", _POST, "", "norm is missing"),
    Fault("gemma2", "no softcap of logits",
          '        self.SoftCap(data["logits"], config["final_logit_softcapping"], data["logits"])\n', "", "SoftCap"),
    Fault("gemma2", "no softcap of scores", 'softcap=config["attn_logit_softcapping"]', "softcap=0", "softcap"),
    Fault("gpt_neox", "half of the part rotated", '"cos"], turning, turning', '"cos"], turning // 2, turning // 2',
          "part"),
    Fault("gpt_neox", "halves of the head rotated", """self.LlamaRotatePosition2DPart(
                    data[name], data["positionIds"], data["sin"], data["cos"], turning, turning
                )""", '''self.LlamaRotatePosition2D(
                    data[name], data["positionIds"], data["sin"], data["cos"], turning // 2
                )''', "rotation"),
    Fault("gpt_neox", "a branch forgotten", '            self.AddTo(data["hidden"], data["branch"])\n', ""),
    Fault("gpt_neox", "rms norm for layer norm",
          'self.LayerNorm(data["hidden"], before["weight"], before["bias"], -1, data["input"], eps)',
          'self.RMSNorm(data["hidden"], before["weight"], eps, data["input"])', "LayerNorm"),
    Fault("gpt_neox", "a beta forgotten", 'after["weight"], after["bias"]', 'after["weight"], None', "beta"),
    Fault("gpt_neox", "k for q", 'self.Split(data["qkv"], -1, size, 2 * size, data["k"])',
          'self.Split(data["qkv"], -1, 0, size, data["k"])'),
    Fault("gpt_neox", "three blocks for three of each head", _PER_HEAD, _BLOCKS, "side by side"),
    Fault("gpt_neox", "three blocks of rows", _FUSED + _PER_HEAD, _ROWS, "rows of q, k and v side by side"),
    Fault("falcon", "blocks for groups of heads", _GROUPS, _GROUPED_BLOCKS, "its own 4 q heads, k and v side by side"),
    Fault("falcon", "blocks of rows for groups of heads", _GROUPED + _GROUPS, _GROUPED_ROWS,
          "its own rows of 4 q heads, k and v side by side"),
    Fault("falcon", "one norm for both branches", 'self.Linear(data["mlp"], mlp', 'self.Linear(data["attn"], mlp',
          'with data["mlp"]'),
    Fault("gpt_neox", "gelu in the tanh form", "self.Gelu(", "self.GeluNew(", "Gelu"),
    Fault("gpt_neox", "another eps", 'after["bias"], -1, data["input"], eps)',
          'after["bias"], -1, data["input"], 0.01)', "eps"),
    Fault("mixture", "shares not normed", 'config["num_experts_per_tok"], 1)', 'config["num_experts_per_tok"], 0)',
          "needNorm"),
    Fault("mixture", "another number of experts", 'config["num_experts_per_tok"], 1)', "3, 1)", "topk"),
    Fault("mixture", "gate and up exchanged", "gate, up, down, data", "up, gate, down, data", "exchanged"),
    Fault("mixture", "sigmoid for softmax", 'self.SoftMax(data["scores"]', 'self.Sigmoid(data["scores"]', "SoftMax"),
    Fault("mixture", "a router of what is not normed", 'self.Linear(data["input"], mlp["gate.weight"]',
          'self.Linear(data["hidden"], mlp["gate.weight"]', "reads"),
    Fault("mixture", "gelu in the experts", "gate, up, down, data", "gate, up, down, gateType=1, output=data",
          "gateType"),
    Fault("mixture", "a router by sigmoid", 'self.SoftMax(', 'self.Sigmoid(', "SoftMax"),
    Fault("granite", "a branch not scaled", 'data["added"], residual)\n            self.RMSNorm',
          'data["added"])\n            self.RMSNorm', "alpha"),
    Fault("granite", "multiplied for divided", '1 / config["logits_scaling"]', 'config["logits_scaling"]', "v of Mul"),
    Fault("granite", "scale by the head", 'config["attention_multiplier"]', "head_dim ** -0.5", "scale"),
    Fault("granite", "the embedding not scaled", 'config["embedding_multiplier"]', "1.0", "v of Mul"),
    Fault("hybrid", "rates and their bias exchanged", 'mixer["A_log"], mixer["dt_bias"]',
          'mixer["dt_bias"], mixer["A_log"]', "exchanged"),
    Fault("hybrid", "a decay by a sigmoid", 'self.MambaSoftplus(data["decay"], mixer["A_log"], mixer["dt_bias"], ',
          'self.Sigmoid(data["decay"], ', "A_log"),
    Fault("hybrid", "k not normed", '                self.L2Norm(data["key.k"], 1e-6, data["key.k"])\n', "", "L2Norm"),
    Fault("hybrid", "neither q nor k normed",
          '                self.L2Norm(data["key.q"], 1e-6, data["key.q"])\n'
          '                self.L2Norm(data["key.k"], 1e-6, data["key.k"])\n', "",
          'data["key.q"] and data["key.k"] is missing'),
    Fault("hybrid", "attention's gate forgotten", '                self.MulTo(data["attention"], data["open"])\n', "",
          'by data["open"], which nothing reads'),
    Fault("hybrid", "sigmoid for silu in the gate", 'eps, data["read"])', 'eps, data["read"], 1)', "gateType"),
    Fault("hybrid", "gate before the norm", 'eps, data["read"])', 'eps, data["read"], 0, 1)', "gateFirst"),
    Fault("hybrid", "1 + w in the gated norm", 'mixer["norm.weight"]', '1 + mixer["norm.weight"]',
          "alone"),
    Fault("hybrid", "a convolution without silu", 'data["mixed"], 1\n', 'data["mixed"]\n', "activation"),
    Fault("hybrid", "q and k exchanged in the delta rule", 'data["key.q"], data["key.k"], data["value"]',
          'data["key.k"], data["key.q"], data["value"]', "exchanged"),
    Fault("hybrid", "beta without a sigmoid", '                self.Sigmoid(data["beta"], data["beta"])\n', "",
          "Sigmoid"),
    Fault("hybrid", "no scale of queries", "key_dim ** -0.5", "1.0", "qScale"),
    Fault("hybrid", "attention's gate by silu", 'self.Sigmoid(data["open"]', 'self.Silu(data["open"]', "Sigmoid"),
    Fault("hybrid", "a and b exchanged", 'mixer["in_proj_b.weight"]', 'mixer["in_proj_a.weight"]', "in_proj_b"),
)  # fmt: skip

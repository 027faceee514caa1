"""The demo model's network in PyTorch: Qwen2 with tied embeddings, over documents laid end to end.

All tokens of a batch are one flat axis; only attention looks at document borders. Documents are padded to a
few lengths and sorted by them, so that attention runs on dense ``[documents, length]`` slices.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of the network, under the names of Qwen2's config.json."""

    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    max_position_embeddings: int = 1024

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


@dataclass(frozen=True)
class Group:
    """Documents of one padded length: rows ``start`` to ``start + count * length`` of the flat token axis."""

    start: int
    count: int
    length: int


def rotary_tables(config: NetworkConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each [tokens, 1, head_dim], of every token's position."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    angles = positions.float()[:, None] * (config.rope_theta**-exponents)[None]
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate the pairs (j, j + head_dim / 2) of [tokens, heads, head_dim]."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cosines + torch.cat([-second, first], dim=-1) * sines


def biased(linear: nn.Linear, hidden: Tensor) -> Tensor:
    """``linear(hidden)``, written so that the bias's gradient is a product: its plain sum is slow on CPUs."""
    ones = hidden.new_ones(hidden.shape[0], 1)
    return functional.linear(hidden, linear.weight) + ones @ linear.bias[None]


class Norm(nn.Module):
    """RMSNorm in float32, whatever the type of its input."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size))
        self.eps = config.rms_norm_eps

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(hidden.dtype)


class Attention(nn.Module):
    """Grouped-query causal attention within each document."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        key_value = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, key_value)
        self.v_proj = nn.Linear(config.hidden_size, key_value)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def project(self, hidden: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys and values: [tokens, heads or kv heads, head_dim]."""
        dim = self.config.head_dim
        query = rotate(biased(self.q_proj, hidden).unflatten(-1, (-1, dim)), cosines, sines)
        key = rotate(biased(self.k_proj, hidden).unflatten(-1, (-1, dim)), cosines, sines)
        return query, key, biased(self.v_proj, hidden).unflatten(-1, (-1, dim))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, groups: list[Group]) -> Tensor:
        """Causal attention of each document on itself: [tokens, hidden]. Plain products: short documents."""
        config = self.config
        kv_heads, dim = config.num_key_value_heads, config.head_dim
        repeats = config.num_attention_heads // kv_heads
        sizes = [group.count * group.length for group in groups]
        parts = []
        for group, q, k, v in zip(
            groups, query.split(sizes), key.split(sizes), value.split(sizes), strict=True
        ):
            count, length = group.count, group.length
            q = q.view(count, length, kv_heads, repeats, dim).permute(0, 2, 3, 1, 4)
            q = q.reshape(count * kv_heads, repeats * length, dim)
            k = (
                k.view(count, length, kv_heads, dim)
                .permute(0, 2, 3, 1)
                .reshape(count * kv_heads, dim, length)
            )
            v = v.view(count, length, kv_heads, dim).transpose(1, 2).reshape(count * kv_heads, length, dim)
            mask = torch.full((length, length), float("-inf"), dtype=q.dtype).triu(1).repeat(repeats, 1)
            weights = torch.baddbmm(mask, q, k, alpha=dim**-0.5).softmax(-1)
            mixed = torch.bmm(weights, v).view(count, kv_heads, repeats, length, dim)
            parts.append(mixed.permute(0, 3, 1, 2, 4).reshape(count * length, -1))
        return torch.cat(parts)


class Mlp(nn.Module):
    """SwiGLU."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Layer(nn.Module):
    """One transformer block; its parts before and after attention each compile into one graph."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.input_layernorm = Norm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = Norm(config)
        self.mlp = Mlp(config)

    def before(self, hidden: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.self_attn.project(self.input_layernorm(hidden), cosines, sines)

    def after(self, hidden: Tensor, mixed: Tensor) -> Tensor:
        hidden = hidden + self.self_attn.o_proj(mixed)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))

    def forward(self, hidden: Tensor, cosines: Tensor, sines: Tensor, groups: list[Group]) -> Tensor:
        query, key, value = self.before(hidden, cosines, sines)
        return self.after(hidden, self.self_attn.attend(query, key, value, groups))


class Network(nn.Module):
    """Qwen2. Parameter names are those of the checkpoint without its ``model.`` prefix."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = Norm(config)
        self.reset()

    def reset(self) -> None:
        """Draw the weights anew from torch's global generator."""
        depth = (2 * self.config.num_hidden_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scale = parameter.shape[1] ** -0.5 if "embed" not in name else 0.02
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    scale *= depth
                nn.init.normal_(parameter, std=scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids: Tensor, positions: Tensor, groups: list[Group], wanted: Tensor) -> Tensor:
        """Logits [wanted, vocab] at the flat indices ``wanted``; ids and positions are [tokens]."""
        cosines, sines = rotary_tables(self.config, positions)
        hidden = functional.embedding(ids, self.embed_tokens.weight)
        cosines, sines = cosines.to(hidden.dtype), sines.to(hidden.dtype)
        for layer in self.layers:
            hidden = layer(hidden, cosines, sines, groups)
        hidden = self.norm(hidden[wanted])
        return functional.linear(hidden, self.embed_tokens.weight).float()

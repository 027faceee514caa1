"""Names that other projects could have for the tensors of known architectures."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ftllm_nb.checkpoint import Checkpoint
from tests.memory_checkpoint import MemoryCheckpoint

Names = Mapping[str, str]
"""Regular expressions of whole names, and what stands for them; N is a layer's number."""

BLOCKS: Names = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "model.layers.N.input_layernorm.weight": "blk.N.attn_norm.weight",
    "model.layers.N.post_attention_layernorm.weight": "blk.N.ffn_norm.weight",
    "model.layers.N.self_attn.([qkv])_proj.weight": r"blk.N.attn_\2.weight",
    "model.layers.N.self_attn.([qk])_norm.weight": r"blk.N.attn_\2_norm.weight",
    "model.layers.N.self_attn.o_proj.weight": "blk.N.attn_output.weight",
    "model.layers.N.mlp.(gate|up|down)_proj.weight": r"blk.N.ffn_\2.weight",
}
FOUR_NORMS: Names = BLOCKS | {
    "model.layers.N.post_attention_layernorm.weight": "blk.N.post_attention_norm.weight",
    "model.layers.N.pre_feedforward_layernorm.weight": "blk.N.ffn_norm.weight",
    "model.layers.N.post_feedforward_layernorm.weight": "blk.N.post_ffw_norm.weight",
}
DECODER: Names = {
    "model.embed_tokens.weight": "model.decoder.shared",
    "model.norm.weight": "model.decoder.last_ln.gamma",
    "lm_head.weight": "model.unembed",
    "model.layers.N.input_layernorm.weight": "model.decoder.block.N.ln1.gamma",
    "model.layers.N.post_attention_layernorm.weight": "model.decoder.block.N.ln2.gamma",
    "model.layers.N.self_attn.q_proj.(.*)": r"model.decoder.block.N.self.query.\2",
    "model.layers.N.self_attn.k_proj.(.*)": r"model.decoder.block.N.self.key.\2",
    "model.layers.N.self_attn.v_proj.(.*)": r"model.decoder.block.N.self.value.\2",
    "model.layers.N.self_attn.o_proj.weight": "model.decoder.block.N.self.dense.weight",
    "model.layers.N.mlp.gate_proj.weight": "model.decoder.block.N.glu.w1.weight",
    "model.layers.N.mlp.down_proj.weight": "model.decoder.block.N.glu.w2.weight",
    "model.layers.N.mlp.up_proj.weight": "model.decoder.block.N.glu.w3.weight",
}
TRANSFORMER: Names = {
    "gpt_neox.embed_in.weight": "transformer.wte.weight",
    "gpt_neox.final_layer_norm.(.*)": r"transformer.ln_f.\1",
    "embed_out.weight": "transformer.lm.weight",
    "gpt_neox.layers.N.input_layernorm.(.*)": r"transformer.h.N.norm_1.\2",
    "gpt_neox.layers.N.post_attention_layernorm.(.*)": r"transformer.h.N.norm_2.\2",
    "gpt_neox.layers.N.attention.query_key_value.(.*)": r"transformer.h.N.attn.qkv.\2",
    "gpt_neox.layers.N.attention.dense.(.*)": r"transformer.h.N.attn.out.\2",
    "gpt_neox.layers.N.mlp.dense_h_to_4h.(.*)": r"transformer.h.N.ff.fc1.\2",
    "gpt_neox.layers.N.mlp.dense_4h_to_h.(.*)": r"transformer.h.N.ff.fc2.\2",
}
UNDERSCORES: Names = {
    "transformer.wte.weight": "tokenEmbedding",
    "transformer.wpe.weight": "positionEmbedding",
    "transformer.ln_f.(.*)": r"finalNorm_\1",
    "lm_head.weight": "toLogits",
    "transformer.h.N.ln_1.(.*)": r"layer_N_firstNorm_\2",
    "transformer.h.N.ln_2.(.*)": r"layer_N_secondNorm_\2",
    "transformer.h.N.attn.c_attn.(.*)": r"layer_N_attention_in_\2",
    "transformer.h.N.attn.c_proj.(.*)": r"layer_N_attention_out_\2",
    "transformer.h.N.mlp.c_fc.(.*)": r"layer_N_feedForward_in_\2",
    "transformer.h.N.mlp.c_proj.(.*)": r"layer_N_feedForward_out_\2",
}
MIXTURE: Names = BLOCKS | {
    "model.layers.N.mlp.gate.weight": "blk.N.router.weight",
    r"model.layers.N.mlp.experts.(\d+).(gate|up|down)_proj.weight": r"blk.N.expert.\2.\3",
}


def renamed(known: Checkpoint, names: Names) -> MemoryCheckpoint:
    """The same tensors under other names; each must have one."""
    arrays = {}
    for name in known.tensors:
        own = [other for pattern, old in names.items() if (other := _other(name, pattern, old)) is not None]
        assert len(own) == 1 and own[0] not in known.tensors, name
        arrays[own[0]] = known.read(name)
    assert len(arrays) == len(known.tensors)
    return MemoryCheckpoint(known.config, arrays)


def _other(name: str, pattern: str, other: str) -> str | None:
    match = re.fullmatch(pattern.replace("N", r"(\d+)"), name)
    if match is None:
        return None
    return match.expand(other.replace("N", r"\g<1>", 1) if "N" in pattern else other)

"""Write the random model that `ftllm-nb bench --random` makes of a qwen2 configuration as a GGUF file.

The weights are the same numbers, in llama.cpp's own formats. Nothing is tokenized with it: its vocabulary is made up.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np

from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.checkpoint import Checkpoint

FORMATS = {
    "int4g32": (gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0),
    "int8g32": (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q8_0),
    "bfloat16": (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.BF16),
}
"""The types of a model's matrices, and of its embedding, that have as many bits a weight as ours."""


def write_gguf(config_file: str, dtype: str, path: Path) -> None:
    """Write the model of a config.json, in the GGUF type that answers to our `dtype`. Takes seconds to a minute."""
    config = json.loads(Path(config_file).read_text())
    if config["model_type"] != "qwen2":
        raise SystemExit(f"{config_file}: only qwen2 is written as GGUF, not {config['model_type']}.")
    matrices, embedding = FORMATS[dtype]
    writer = gguf.GGUFWriter(path, "qwen2")
    write_settings(writer, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    with open_weights(Settings(random_config=config_file, random=True)) as checkpoint:
        for name in checkpoint.tensors:
            values = float_values(checkpoint, name)
            kind = gguf.GGMLQuantizationType.F32
            if values.ndim == 2:
                kind = embedding if "embed_tokens" in name or "lm_head" in name else matrices
            target = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if target is None:
                raise SystemExit(f"GGUF has no name for the tensor {name}.")
            writer.add_tensor(target, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """The sizes of the model, and a vocabulary of as many tokens."""
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"<{number}>" for number in range(config["vocab_size"])])
    writer.add_token_types([gguf.TokenType.NORMAL] * config["vocab_size"])
    writer.add_token_merges(["< 0"])
    writer.add_bos_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_eos_token_id(0)


def float_values(checkpoint: Checkpoint, name: str) -> np.ndarray:
    """A tensor's values as float32; bfloat16 is stored as its bits."""
    values = checkpoint.read(name)
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)

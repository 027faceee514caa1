"""Small llama folders that the compressed-tensors package itself quantizes and writes, and its own reading of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from compressed_tensors.compressors import BaseCompressor, ModelCompressor
from compressed_tensors.compressors.format import infer_module_format
from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
from compressed_tensors.quantization.utils import calculate_qparams
from numpy.typing import NDArray
from safetensors import safe_open

from tests.golden.small_models import prompt, tensor

MODEL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 60,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
TOKENS = prompt("compressed", 24, MODEL["vocab_size"])


def weights(bits: int, group: int = 0, symmetric: bool = True, **others: Any) -> dict[str, Any]:
    """Arguments of weights, as the package takes them."""
    strategy = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
    return {"num_bits": bits, "symmetric": symmetric, **strategy, **others}


INT8_TOKENS = {"num_bits": 8, "strategy": "token", "dynamic": True}


def group(arguments: dict[str, Any], *targets: str, **others: Any) -> dict[str, Any]:
    """A group of a config."""
    return {"targets": list(targets or ("Linear",)), "weights": arguments, **others}


def write_compressed(
    folder: Path, groups: list[dict[str, Any]], dtype: torch.dtype, force_format: str | None = None
) -> None:
    """Quantize a random model, whose weights and scales are of type `dtype`, and write it with the package."""
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**MODEL)).to(dtype)
    for name, parameter in model.named_parameters():
        parameter.data = torch.from_numpy(tensor("compressed", name, tuple(parameter.shape))).to(dtype)
    config = QuantizationConfig(
        config_groups={f"group_{number}": entry for number, entry in enumerate(groups)},
        ignore=["lm_head"],
        quantization_status="frozen",
    )
    apply_quantization_config(model, config, show_progress=False)
    for module in model.modules():
        arguments = getattr(getattr(module, "quantization_scheme", None), "weights", None)
        if arguments is None:
            continue
        runs = module.weight.data.reshape(len(module.weight), -1, arguments.group_size or module.weight.shape[1])
        scale, zero_point = calculate_qparams(runs.amin(-1), runs.amax(-1), arguments)
        module.weight_scale.data = scale.to(dtype)
        module.weight_zero_point.data = zero_point.to(module.weight_zero_point.dtype)
    compressor = ModelCompressor.from_pretrained_model(model, force_format)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(str(folder))


def decompressed(folder: Path, scales: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """Every quantized weight by name, as the package dequantizes it, its scales first converted to a type."""
    config = transformers.AutoConfig.from_pretrained(folder).quantization_config
    quantization = QuantizationConfig.model_validate(config if isinstance(config, dict) else config.to_dict())
    stored = stored_tensors(folder)
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**MODEL))
    apply_quantization_config(model, quantization, show_progress=False)
    found = {}
    for name, module in model.named_modules():
        scheme = getattr(module, "quantization_scheme", None)
        if scheme is None or scheme.weights is None:
            continue
        prefix = f"{name}."
        local = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(f"{prefix}weight")}
        if scales is not None:
            local["weight_scale"] = local["weight_scale"].to(scales)
        form = scheme.format or infer_module_format(type(module), scheme)
        compressor = BaseCompressor.get_value_from_registry(getattr(form, "value", form))
        found[f"{name}.weight"] = compressor.decompress(local, scheme)["weight"]
    return found


def stored_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder's file."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def float_logits(folder: Path) -> NDArray[np.float32]:
    """float32 [tokens, vocabulary]: transformers' logits with the weights that the package reads, in float32."""
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**MODEL)).to(torch.float32)
    read = {name: value.float() for name, value in stored_tensors(folder).items() if value.is_floating_point()}
    model.load_state_dict({**{name: read[name] for name in model.state_dict() if name in read},
                           **decompressed(folder, torch.float32)})  # fmt: skip
    return all_logits(model)


def all_logits(model: Any) -> NDArray[np.float32]:
    """A model's logits after each of `TOKENS`."""
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(torch.from_numpy(TOKENS.astype(np.int64))[None]).logits[0].numpy()
    return logits

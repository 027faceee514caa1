"""What fastllm's Python API has and this one does not: each name says why, in one sentence, when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ftllm_nb.errors import UsageError

_DEVICES = "there is one device, the CPU: leave the call out."
_CACHE = "the KV cache is always in the CPU's memory: leave the call out."
_LORA = "adapters are not loaded: merge the adapter into its base model and load that."
_TASKS = "only models that continue text are run, and no embedding or ranking models."

ABSENT_FUNCTIONS = {
    "set_device_map": _DEVICES,
    "set_moe_device_map": _DEVICES,
    "set_cuda_embedding": _DEVICES,
    "set_cuda_shared_expert": _DEVICES,
    "set_cuda_graph": _DEVICES,
    "set_cpu_kvcache": _CACHE,
    "get_cpu_kvcache": _CACHE,
    "set_cpu_historycache": _CACHE,
    "get_cpu_historycache": _CACHE,
    "set_cpu_low_mem": "weights are always mapped and packed one by one: leave the call out.",
    "get_cpu_low_mem": "weights are always mapped and packed one by one: leave the call out.",
    "from_hf": "a transformers model in memory is not converted: save it with save_pretrained and load the folder.",
    "create": "a transformers model in memory is not converted: save it with save_pretrained and load the folder.",
}
"""Functions of fastllm's module `llm`."""

ABSENT_METHODS = {
    "set_adapter": _LORA,
    "disable_adapter": _LORA,
    "add_cache": "what conversations share is kept without being told: leave the call out.",
    "set_save_history": "what conversations share is kept without being told: leave the call out.",
    "set_atype": "intermediates are float32: give atype to llm.model, which says what that changes.",
    "set_moe_atype": "intermediates are float32: give atype to llm.model, which says what that changes.",
    "set_moe_experts": "models with experts are not run.",
    "set_verbose": "nothing is printed unless llm.model is given progress or warn.",
    "save": "files in fastllm's own format are not written: give dtype to llm.model, which quantizes as it loads.",
    "embedding_sentence": _TASKS,
    "reranker_compute_score": _TASKS,
    "response_batch": "there is no batch call: ask from several threads, or with stream_response_async.",
    "response_batch_stream": "there is no batch call: ask from several threads, or with stream_response_async.",
    "get_struct": "there is no such name: str(graph) of a ComputeGraph is its JSON.",
    "get_type": 'there is no such name: model.config["model_type"] says it.',
}
"""Methods of fastllm's `llm.model`."""


def absent(name: str, reason: str) -> Callable[..., NoReturn]:
    """A function that says why it is none."""

    def refuse(*_positional: Any, **_named: Any) -> NoReturn:
        raise UsageError(f"{name}: {reason}")

    refuse.__name__ = name
    return refuse


def require_absent_arguments(*, lora: str, ori_model_path: str, tokenizer_type: str) -> None:
    """Raise `UsageError` for arguments of fastllm's `llm.model` that ask for what there is not."""
    if lora:
        raise UsageError(f"lora: {_LORA}")
    if ori_model_path:
        raise UsageError("ori_model_path: files in fastllm's own format are not read: give the model's own folder.")
    if tokenizer_type != "auto":
        raise UsageError(f"tokenizer_type {tokenizer_type!r}: the folder's files say what it is: leave it out.")

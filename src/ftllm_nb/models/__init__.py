"""Model architectures, one file each: the file's name is config.json's model_type, `__model__` its graph."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ftllm_nb.blocks import Decoder, TextPart
from ftllm_nb.checkpoint.base import UNKNOWN_GGUF
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import BEGINNING, GGUF_PAGE, MODELS_PAGE, CheckpointError
from ftllm_nb.graph.compute_graph import ComputeGraph

_POSITIVE_ENTRIES = (
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
)
_MOST_NAMED = 4
"""Architectures that are named where another one is not supported."""
_MAY_BE_NULL = ("head_dim", "num_key_value_heads")
_MOST_LAYERS = 10_000
"""Far more than any model has; a graph of so many is recorded in seconds."""

_NO_LANGUAGE_MODELS = (
    (r"Reward(?:Model)?", "a reward model, which scores answers and writes none"),
    (r"For\w*Classification", "a classifier, which writes no text"),
    (r"For(?:QuestionAnswering|MultipleChoice|NextSentencePrediction)", "a model that chooses and writes no text"),
    (r"ForMaskedLM", "a model that fills gaps in texts and continues none"),
    (r"For(?:TextEncoding|Embedding|SentenceEmbedding|Retrieval)|EmbeddingModel", "a model of embeddings"),
)
"""(what the name of a class in config.json's architectures holds, what such a model is)."""
_OTHER_KINDS = {
    "an encoder, which reads texts and writes none": (
        r"albert|bert|camembert|deberta(-v2)?|distilbert|electra|ernie|esm|eurobert|layoutlm(v[23])?|longformer|luke|"
        r"megatron-bert|mobilebert|modernbert|mpnet|new|nomic_bert|nystromformer|rembert|roberta(-prelayernorm)?|"
        r"roformer|squeezebert|xlm-roberta(-xl)?|xmod"
    ),
    "an encoder with a decoder, for translations and the like": (
        r"bart|blenderbot(-small)?|encoder-decoder|fsmt|led|longt5|m2m_100|marian|mbart|mt5|nllb-moe|pegasus(_x)?|plbart|"
        r"prophetnet|switch_transformers|t5(gemma)?|umt5"
    ),
    "a model of pictures or sounds": (
        r"beit|bit|clap|clip|convnext(v2)?|deit|detr|dinov[23].*|hubert|resnet|sam2?|siglip2?|swin(v2)?|vit(_.*)?|wav2vec2|"
        r"wavlm|whisper|yolos"
    ),
}
"""What a model is, by a pattern of its model_type."""


def supported_architectures() -> list[str]:
    """The values of model_type that have a file here."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def graph_class(config: dict[str, Any]) -> type[ComputeGraph]:
    """The graph of a config's architecture.

    Raises `CheckpointError` for one that is not supported, for a model that is none of language, and for sizes that
    are no positive whole numbers.
    """
    _require_language_model(config)
    model_type = config.get("model_type")
    supported, in_gguf = supported_architectures(), config.get(UNKNOWN_GGUF)
    problem = None
    if in_gguf is not None:
        from ftllm_nb.checkpoint.gguf.architectures import architectures_of_files  # which takes time to import

        problem = f"config.json has the architecture {shown(in_gguf)}, of which no GGUF files are read"
        nearest = _what_is_supported(in_gguf, architectures_of_files(), "read", GGUF_PAGE)
    elif model_type not in supported:
        problem = f"config.json has the model_type {shown(model_type)}, which is not supported"
        problem = "config.json has no model_type" if model_type is None else problem
        nearest = _what_is_supported(model_type, supported, "supported", MODELS_PAGE)
    if problem is not None:
        raise CheckpointError(
            f"{problem}: describe the model in a Python file, which ftllm-nb init begins, and give it with --custom "
            f"FILE, as {BEGINNING} shows; {nearest}."
        )
    found: type[ComputeGraph] = importlib.import_module(f"{__name__}.{model_type}").__model__
    _require_sizes(config, found)
    text_config = config.get("text_config")
    if issubclass(found, TextPart) and isinstance(text_config, dict):
        named = text_config.get("model_type")
        _require_sizes(text_config, found.text_models.get(named, Decoder) if isinstance(named, str) else Decoder)
    return found


def _what_is_supported(model_type: object, supported: list[str], what: str, page: str) -> str:
    """The names that are nearest to one that is none of the supported, and the page where all stand."""
    name = model_type.lower() if isinstance(model_type, str) else ""
    near = get_close_matches(name, supported, _MOST_NAMED, 0.7)
    family = re.match(r"[a-z]{3,}", name)
    near += [each for each in supported if family and each not in near and re.match(rf"{family[0]}(?![a-z])", each)]
    if not near:
        return f"{page} lists the {len(supported)} that are {what}"
    verb = "is" if len(near) == 1 else "are"
    named = " and ".join(filter(None, [", ".join(near[:_MOST_NAMED][:-1]), near[:_MOST_NAMED][-1]]))
    return f"of the {len(supported)} that are {what}, which {page} lists, nearest {verb} {named}"


def _require_sizes(config: dict[str, Any], found: type[ComputeGraph]) -> None:
    """Raise `CheckpointError` for sizes that are no positive whole numbers."""
    own_names: Mapping[str, str] = found.entry_names if issubclass(found, Decoder) else {}
    by_layer = found.by_layer if issubclass(found, Decoder) else ()
    for entry in _POSITIVE_ENTRIES:
        for name in dict.fromkeys((entry, own_names.get(entry, entry))):
            if name not in config or (config[name] is None and entry in _MAY_BE_NULL):
                continue
            number = config[name]
            numbers = number if entry in by_layer and isinstance(number, list) and number else [number]
            if any(isinstance(each, bool) or not isinstance(each, int) or each < 1 for each in numbers):
                raise CheckpointError(
                    f"config.json's {name} must be a positive whole number, but it is {shown(number)}."
                )
            if entry == "num_hidden_layers" and number > _MOST_LAYERS:
                raise CheckpointError(
                    f"config.json's {name} must be at most {_MOST_LAYERS}, but it is {shown(number)}."
                )


def _require_language_model(config: dict[str, Any]) -> None:
    """Raise `CheckpointError` for layers of a language model under a head that was trained for something else."""
    names = config.get("architectures")
    names = names if isinstance(names, list) else [names]
    for name in names:
        for pattern, what in _NO_LANGUAGE_MODELS:
            if isinstance(name, str) and re.search(pattern, name) and "CausalLM" not in name:
                raise _no_language_model(f"architectures name {shown(name)}", what)
    model_type = config.get("model_type")
    writes_text = any(isinstance(name, str) and re.search("CausalLM|LMHead", name) for name in names)
    for what, pattern in _OTHER_KINDS.items():
        if isinstance(model_type, str) and re.fullmatch(pattern, model_type) and not writes_text:
            raise _no_language_model(f"model_type is {shown(model_type)}", what)


def _no_language_model(entry: str, what: str) -> CheckpointError:
    return CheckpointError(f"config.json's {entry}: this is {what}, and a causal language model was expected.")

"""Fields of other servers that this one does not follow: with a value that would change the answer they are refused.

A client that writes such a field relies on it, and an answer that silently leaves it out is another answer. Values that
change nothing are taken, since clients send whole sets of defaults. A field that this server's own bodies declare does
not come here, and one that no table names is no known server's: it is ignored, and named in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftllm_nb.serving.api_errors import ApiError


@dataclass(frozen=True)
class Foreign:
    """`does`: what it does where it is known. `harmless`: values besides null with which it does nothing; `instead`:
    what to write here."""

    does: str
    harmless: tuple[Any, ...] = ()
    instead: str = "leave it out"


_SAMPLES = "chooses tokens in a way that is not offered here"
_CHAT = "changes how the conversation becomes a prompt"
_SHAPE = "changes what the response holds"

REFUSED: dict[str, Foreign] = {
    # llama.cpp
    "mirostat": Foreign(_SAMPLES, (0,)),
    "typical_p": Foreign(_SAMPLES, (0, 1)),
    "tfs_z": Foreign(_SAMPLES, (0, 1)),
    "top_n_sigma": Foreign(_SAMPLES, (-1, 0)),
    "xtc_probability": Foreign(_SAMPLES, (0,)),
    "dry_multiplier": Foreign(_SAMPLES, (0,)),
    "dynatemp_range": Foreign(_SAMPLES, (0,)),
    "samplers": Foreign("changes the order in which tokens are left out"),
    "min_keep": Foreign("keeps tokens that top_p and min_p leave out", (0, 1)),
    "penalize_nl": Foreign("changes what repetition_penalty counts", (True,)),
    "repeat_last_n": Foreign(
        "changes what repetition_penalty counts", (-1,), "write -1: here it counts the prompt and the answer"
    ),
    "n_probs": Foreign(_SHAPE, (0,), "write logprobs"),
    "n_indent": Foreign("forces indented lines", (0,)),
    "t_max_predict_ms": Foreign("limits the time", (0, -1), "write max_tokens"),
    "post_sampling_probs": Foreign(_SHAPE, (False,)),
    "return_tokens": Foreign(_SHAPE, (False,), "ask /tokenize"),
    "image_data": Foreign("shows the model pictures, and this one reads text only", ([],)),
    "lora": Foreign("changes the weights", ([],), "merge the adapter into the model"),
    "input_prefix": Foreign("surrounds a place to fill in", ("",)),
    "input_suffix": Foreign("surrounds a place to fill in", ("",)),
    "input_extra": Foreign("surrounds a place to fill in", ([],)),
    # vLLM
    "use_beam_search": Foreign(_SAMPLES, (False,)),
    "length_penalty": Foreign(_SAMPLES, (1,)),
    "early_stopping": Foreign(_SAMPLES, (False,)),
    "include_stop_str_in_output": Foreign("leaves the stop string in the text", (False,)),
    "skip_special_tokens": Foreign("writes control tokens into the text", (True,)),
    "truncate_prompt_tokens": Foreign("cuts the prompt", (-1,), "shorten the prompt"),
    "prompt_logprobs": Foreign(_SHAPE, (), "write echo and logprobs, to /v1/completions"),
    "allowed_token_ids": Foreign(_SAMPLES, ([],), "write response_format or logit_bias"),
    "bad_words": Foreign(_SAMPLES, ([],), "write logit_bias"),
    "logits_processors": Foreign(_SAMPLES, ([],)),
    "logprob_token_ids": Foreign(_SHAPE, ([],)),
    "repetition_detection": Foreign("ends answers that repeat themselves", (), "write stop_loops"),
    "return_tokens_as_token_ids": Foreign(_SHAPE, (False,)),
    "return_token_ids": Foreign(_SHAPE, (False,), "ask /tokenize"),
    "guided_decoding_backend": Foreign(
        "chooses what holds answers to a form", ("auto", "guidance", "xgrammar", "outlines", "lm-format-enforcer"),
        "leave it out, and write its options to structured_outputs",
    ),
    "structural_tag": Foreign("holds parts of the answer to a form", (), "write tools whose functions are strict"),
    "vllm_xargs": Foreign("changes how the model runs", ({},)),
    "prompt_embeds": Foreign("stands for the prompt", ()),
    "chat_template": Foreign(_CHAT, (), "write the prompt yourself, to /v1/completions"),
    "documents": Foreign(_CHAT, ([],), "write them into a message"),
    "with_pieces": Foreign(_SHAPE, (False,), "write return_token_strs"),
    # What has a meaning in a chat alone
    "chat_template_kwargs": Foreign(_CHAT, ({},), "ask /v1/chat/completions"),
    "enable_thinking": Foreign(_CHAT, (False,), "ask /v1/chat/completions"),
    "reasoning_effort": Foreign(_CHAT, ("none",), "ask /v1/chat/completions"),
    "reasoning": Foreign(_CHAT, ({},), "ask /v1/chat/completions"),
    "thinking": Foreign(_CHAT, (False, {"type": "disabled"}), "ask /v1/chat/completions"),
    "thinking_budget": Foreign(_CHAT, (-1, 0), "ask /v1/chat/completions"),
    # OpenAI
    "functions": Foreign("names functions to call", ([],), "write tools"),
    "function_call": Foreign("names a function to call", ("auto", "none"), "write tool_choice"),
    "modalities": Foreign("asks for sound, and this model writes text only", (["text"],)),
    "audio": Foreign("asks for sound, and this model writes text only"),
    "web_search_options": Foreign("searches the web"),
    "verbosity": Foreign("asks for shorter or longer answers", ("medium",), "write it into a message"),
    "extra_body": Foreign("is an argument of OpenAI's client, and no field", ({},), "write what it holds beside it"),
    # Ollama
    "options": Foreign("holds settings", ({},), "write them beside it: temperature, top_p, seed, max_tokens"),
    "format": Foreign("holds the answer to a form", ("",), "write response_format"),
    "num_predict": Foreign("limits the answer", (-1, -2), "write max_tokens"),
    "template": Foreign(_CHAT, ("",), "write the prompt yourself, to /v1/completions"),
    "system": Foreign(_CHAT, ("",), "write it as a message of the role system"),
    "context": Foreign("continues an earlier answer", ([],), "write the earlier text into the prompt"),
    "images": Foreign("shows the model pictures, and this one reads text only", ([],)),
    "raw": Foreign(_CHAT, (False, True), "write the prompt to /v1/completions"),
    # Text Generation Inference, text-generation-webui and what speaks to them
    "top_n_tokens": Foreign(_SHAPE, (0,), "write logprobs"),
    "watermark": Foreign(_SAMPLES, (False,)),
    "return_full_text": Foreign(_SHAPE, (False,), "write echo"),
    "decoder_input_details": Foreign(_SHAPE, (False,), "write echo and logprobs, to /v1/completions"),
    "adapter_id": Foreign("changes the weights", (), "merge the adapter into the model"),
    "guidance_scale": Foreign(_SAMPLES, (1,)),
    "penalty_alpha": Foreign(_SAMPLES, (0,)),
    "top_a": Foreign(_SAMPLES, (0,)),
    "eta_cutoff": Foreign(_SAMPLES, (0,)),
    "epsilon_cutoff": Foreign(_SAMPLES, (0,)),
    "smoothing_factor": Foreign(_SAMPLES, (0,)),
    "dynamic_temperature": Foreign(_SAMPLES, (False,)),
    "temperature_last": Foreign("changes the order in which tokens are left out", (False,)),
    "sampler_priority": Foreign("changes the order in which tokens are left out"),
    "sampler_order": Foreign("changes the order in which tokens are left out"),
    "encoder_repetition_penalty": Foreign(_SAMPLES, (1,)),
    "no_repeat_ngram_size": Foreign(_SAMPLES, (0,)),
    "repetition_penalty_range": Foreign("changes what repetition_penalty counts", (0, -1)),
    "num_beams": Foreign(_SAMPLES, (1,)),
    "min_new_tokens": Foreign("forbids short answers", (0,), "write min_tokens"),
    "min_length": Foreign("forbids short answers", (0,), "write min_tokens"),
    "max_length": Foreign("limits prompt and answer", (), "write max_tokens"),
    "stop_sequence": Foreign("ends the answer", ([],), "write stop"),
    "stopping_strings": Foreign("ends the answer", ([],), "write stop"),
    "custom_stopping_strings": Foreign("ends the answer", ([],), "write stop"),
    "ban_eos_token": Foreign("forbids the end", (False,), "write ignore_eos"),
    "custom_token_bans": Foreign(_SAMPLES, ("",), "write logit_bias"),
    "negative_prompt": Foreign(_SAMPLES, ("",)),
    # What has a meaning on the other route
    "echo": Foreign("repeats the prompt", (False,), "write it to /v1/completions"),
    "best_of": Foreign("chooses among more answers", (1,), "write n"),
    "suffix": Foreign("asks for what stands between two texts", ("",)),
    "prompt": Foreign("is what /v1/completions continues", (), "write messages"),
    "messages": Foreign("is a conversation", (), "ask /v1/chat/completions"),
    "tools": Foreign("names functions to call", ([],), "ask /v1/chat/completions"),
    "tool_choice": Foreign("names a function to call", ("auto", "none"), "ask /v1/chat/completions"),
    "top_logprobs": Foreign(_SHAPE, (0,), "write logprobs as a number"),
    # Written twice, under two names
    "repeat_penalty": Foreign("is another name of repetition_penalty"),
    "n_predict": Foreign("is another name of max_tokens"),
    "max_new_tokens": Foreign("is another name of max_tokens"),
}

HARMLESS = frozenset((
    # OpenAI: who asks, where answers are kept, what is billed
    "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prediction", "parallel_tool_calls",
    # llama.cpp: mean nothing without what is refused above, or say where the prompt's cache lies
    "mirostat_tau", "mirostat_eta", "xtc_threshold", "dry_base", "dry_allowed_length", "dry_penalty_last_n",
    "dry_sequence_breakers", "dynatemp_exponent", "n_keep", "n_discard", "cache_prompt", "id_slot", "slot_id",
    "timings_per_token", "return_progress", "smoothing_curve", "dynatemp_low", "dynatemp_high",
    # vLLM
    "priority", "request_id", "cache_salt", "spaces_between_special_tokens", "kv_transfer_params",
    "mm_processor_kwargs",
    # Ollama, LM Studio, text-generation-webui
    "keep_alive", "ttl", "draft_model", "num_ctx", "truncation_length", "details", "mode", "skip_prompt",
))  # fmt: skip
"""Fields of other servers that never change an answer's text."""


def check_foreign(fields: Mapping[str, Any] | None) -> list[str]:
    """ApiError for a field that would change the answer; the names of those that nobody is known to know."""
    unknown = []
    for name, value in (fields or {}).items():
        found = REFUSED.get(name)
        if found is not None and value is not None and value not in found.harmless:
            raise ApiError(400, f"{name} {found.does}: {found.instead}.", param=name, code="unsupported_parameter")
        if found is None and name not in HARMLESS:
            unknown.append(name)
    return unknown

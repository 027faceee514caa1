"""Tokenizers from the metadata of GGUF files: vocabulary, pre-tokenizer, special tokens and chat templates."""

from __future__ import annotations

from ftllm_nb.tokenizer.gguf.load import load_gguf_tokenizer

__all__ = ["load_gguf_tokenizer"]

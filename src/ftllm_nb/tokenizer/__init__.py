"""Text in, token ids out, and back: tokenizer files, chat templates, streaming detokenization.

Importing this package loads none of tokenizers, sentencepiece and jinja2 until a folder needs it.
"""

from ftllm_nb.tokenizer.choice import choose_tokenizer
from ftllm_nb.tokenizer.load import load_tokenizer
from ftllm_nb.tokenizer.prompt_pieces import PromptPieces
from ftllm_nb.tokenizer.streaming import StreamDecoder
from ftllm_nb.tokenizer.tokenizer import Tokenizer

__all__ = ["PromptPieces", "StreamDecoder", "Tokenizer", "choose_tokenizer", "load_tokenizer"]

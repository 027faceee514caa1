"""Chat templates in the metadata of GGUF files."""

from __future__ import annotations

from ftllm_nb.tokenizer.chat_template import ChatTemplate
from ftllm_nb.tokenizer.gguf.metadata import Metadata

TEMPLATE = "tokenizer.chat_template"


def gguf_chat_templates(metadata: Metadata) -> dict[str, ChatTemplate]:
    """The file's templates by name ("default" for the unnamed one), {} where it has none.

    llama.cpp puts a beginning of the sequence before every prompt that has none, where the vocabulary asks for it, and
    there are files whose templates leave it out for that reason.
    """
    keys = {"default": TEMPLATE}
    keys.update({name: f"{TEMPLATE}.{name}" for name in metadata.texts(f"{TEMPLATE}s") or []})
    sources = {name: metadata.text(key) for name, key in keys.items()}
    return {
        name: ChatTemplate(source, f"{metadata.where}, {keys[name]}", leaves_beginning=True)
        for name, source in sources.items()
        if source
    }

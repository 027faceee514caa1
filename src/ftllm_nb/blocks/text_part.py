"""The text part of folders that hold more: models that see pictures or hear."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError, GraphError
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.nearest import join_quoted

_OF_THE_FOLDER = ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings")
"""Entries that stand beside text_config, too, and go before those in it."""


class TextPart(ComputeGraph):
    """The graph of what config.json's text_config describes; all else in the checkpoint is passed over.

    `text_models`: by text_config's model_type; the first where it has none. `places`: (what the text part's tensors
    begin with, what the head is called), in each form that transformers has written; the first where there is no
    checkpoint. `defaults`: of entries that text_config may lack.
    """

    text_models: ClassVar[Mapping[str, type[Decoder]]] = {}
    places: ClassVar[tuple[tuple[str, str], ...]] = (
        ("model.language_model.", "lm_head"),
        ("language_model.model.", "language_model.lm_head"),
    )
    defaults: ClassVar[Mapping[str, Any]] = {}

    def build(self) -> None:
        """Build the text part's graph, and take it over."""
        config = self.config.get("text_config")
        if not isinstance(config, Mapping):
            raise GraphError(
                f"config.json's text_config must be an object, the description of the text part, not {shown(config)}."
            )
        prefix, head = self._place()
        found = self._text_model(config)
        names = dataclasses.replace(found.names, head=head)
        text_model: type[Decoder] = type(found.__name__, (found,), {"prefix": prefix, "names": names})
        given = {name: self.config[name] for name in _OF_THE_FOLDER if self.config.get(name) is not None}
        text = text_model({**self.defaults, **config, **given}, self.tokenizer_config, self.generation_config)
        text.checkpoint_names = self.checkpoint_names
        text.build()
        self.config, self.calls, self._text = text.config, text.calls, text
        self.passed_over = {name for name in self.checkpoint_names if not name.startswith((prefix, f"{head}."))}
        self.notes = [*text.notes, *self._passed_over()]
        self.passed_over |= text.passed_over

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the text part."""
        return self._text.weight_shapes()

    def _text_model(self, config: Mapping[str, Any]) -> type[Decoder]:
        named = config.get("model_type", next(iter(self.text_models)))
        if not isinstance(named, str) or named not in self.text_models:
            raise GraphError(
                f"config.json's text_config has the model_type {shown(named)}, but the text part of this architecture "
                f"is {join_quoted(self.text_models)}."
            )
        return self.text_models[named]

    def _place(self) -> tuple[str, str]:
        """The prefix and the head's name that the checkpoint has."""
        found = [place for place in self.places if any(name.startswith(place[0]) for name in self.checkpoint_names)]
        if len(found) > 1:
            raise CheckpointError(
                f"the checkpoint holds text parts under {join_quoted(prefix for prefix, _ in found)}, and one was "
                "expected: the files of two models lie together, so download the model again."
            )
        if self.checkpoint_names and not found:
            raise CheckpointError(
                "the checkpoint holds no text part, whose tensors' names begin with "
                f"{join_quoted(prefix for prefix, _ in self.places)}: this is another part of the model alone "
                f"(its first tensor is {shown(min(self.checkpoint_names))}), and a language model was expected."
            )
        return found[0] if found else self.places[0]

    def _passed_over(self) -> list[str]:
        """A sentence on the other parts, [] where there are none."""
        parts = sorted({name.removeprefix("model.").partition(".")[0] for name in self.passed_over})
        if not parts:
            return []
        return [f"only text is computed: {len(self.passed_over)} tensors of {', '.join(parts)} are passed over."]

"""What a graph puts out: its logits, and the embedding, whose matrix stands for theirs where a checkpoint has one
matrix for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.call import Call, graph_error
from ftllm_nb.graph.inputs import LOGITS
from ftllm_nb.graph.ir import Value
from ftllm_nb.graph.nearest import did_you_mean
from ftllm_nb.graph.references import DataReference
from ftllm_nb.graph.types import Symbol
from ftllm_nb.graph.weight_values import TensorHeader
from ftllm_nb.ops.base import Parameter


class Output:
    """Collects the embeddings of token ids, and says what the logits are or why there are none.

    `calls`: all of the graph's. `tensors`: the checkpoint's. `data` of the methods: what has been written so far, by
    name.
    """

    def __init__(self, calls: list[Call], config: Mapping[str, Any], tensors: Mapping[str, TensorHeader]) -> None:
        self._calls = calls
        self._config = config
        self._tensors = tensors
        self._embeddings: list[Value] = []

    def add_embedding(self, call: Call, parameter: Parameter, value: Value) -> None:
        """Note a matrix that embeds token ids; raises `GraphError` where the config's entries name other sizes."""
        for size, entry in zip(value.type.shape, parameter.sizes, strict=False):
            expected = self._config.get(entry)
            if isinstance(expected, int) and expected != size:
                raise call.error(f'reads weight "{value.name}" {value.type}, but config.json has {entry} = {expected}.')
        self._embeddings.append(value)

    def tied_embedding(self, call: Call, parameter: Parameter, name: str) -> Value | None:
        """The embedding that stands for a missing output weight, or None where it does not."""
        writes_logits = DataReference(LOGITS) in call.arguments.values()
        if not parameter.may_be_embedding or not writes_logits or not self._embeddings:
            return None
        if self._config.get("tie_word_embeddings") is False:
            raise call.error(
                f'reads weight "{name}", which the checkpoint lacks, and the embedding cannot stand for it: '
                f"config.json has tie_word_embeddings = false{did_you_mean(name, self._tensors)}"
            )
        return self._embeddings[0]

    def no_head(self, call: Call, parameter: Parameter, name: str, data: Mapping[str, Value]) -> GraphError | None:
        """Why the embedding does not stand for a missing weight that seems to be the output's; None for others."""
        if not parameter.may_be_embedding or not self._embeddings:
            return None
        if self._misspells_logits(call):
            return self._no_logits()
        if not self._is_tied_elsewhere(call, data):
            return None
        embedding = self._embeddings[0].tensor
        return call.error(
            f'reads weight "{name}", which the checkpoint lacks; the embedding stands for it only where the operator '
            f'writes data["logits"] itself: write weight["{embedding}"] here, or let it write data["logits"] and what '
            "follows change that in place."
        )

    def logits(self, data: Mapping[str, Value]) -> Value:
        """The output, with one row for each sequence that wants one; raises `GraphError`."""
        if LOGITS not in data:
            raise self._no_logits()
        logits = data[LOGITS]
        if logits.type.rank != 3 or logits.type.shape[:2] != (1, Symbol.ROWS):
            assert logits.producer is not None
            raise logits.producer.call.error(
                f'writes data "logits" {logits.type}, but they must be [1, rows, vocabulary]: take the '
                "last token of each sequence with SplitLastTokenStates before the last Linear."
            )
        return logits

    def vocab_size(self, logits: Value) -> int:
        """The number of logits; embeddings must have as many rows, since what is sampled is read next."""
        vocab_size = logits.type.size(-1)
        for embedding in self._embeddings:
            if embedding.type.size(0) < vocab_size:
                assert logits.producer is not None
                raise logits.producer.call.error(
                    f'writes data "logits" {logits.type}, but the embedding "{embedding.name}" '
                    f"{embedding.type} has fewer tokens."
                )
        return vocab_size

    def _is_tied_elsewhere(self, call: Call, data: Mapping[str, Value]) -> bool:
        """Whether the missing matrix is likely that of the logits, which this call does not write itself."""
        if self._config.get("tie_word_embeddings") is False:
            return False
        read = (data.get(each.name) for each in call.arguments.values() if isinstance(each, DataReference))
        return any(value is not None and Symbol.ROWS in value.type.shape for value in read)

    def _misspells_logits(self, call: Call) -> bool:
        """Whether nothing writes the output, but this call something of almost that name."""
        if any(DataReference(LOGITS) in each.arguments.values() for each in self._calls):
            return False
        written = [call.arguments[each.name] for each in call.operator.parameters if each.is_written]
        names = [argument.name for argument in written if isinstance(argument, DataReference)]
        return did_you_mean(LOGITS, names) != did_you_mean(LOGITS, [])

    def _no_logits(self) -> GraphError:
        """Nothing writes the output; the last call is where it would be."""
        file, line = (self._calls[-1].file, self._calls[-1].line) if self._calls else (None, None)
        written = [argument.name for call in self._calls for argument in call.arguments.values()
                   if isinstance(argument, DataReference)]  # fmt: skip
        return graph_error(f'no operator writes data["logits"], the output{did_you_mean(LOGITS, written)}', file, line)

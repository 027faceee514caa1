"""Dialogues as batches of token ids: documents of like length side by side, no mask needed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from network import Group
from tokenizer import END, START
from tokenizers import Tokenizer
from torch import Tensor

LENGTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768)

OTHERS_COUNT = 0.1
"""What a token counts in the loss that is not of an answer; one of an answer counts 1."""


@dataclass(frozen=True)
class Document:
    """Token ids of a dialogue, and what each counts in the loss; 0 for those that are not predicted at all."""

    ids: list[int]
    counts: list[float]


@dataclass(frozen=True)
class Batch:
    """A flat token axis; ``targets`` are the tokens after the indices ``wanted``, in ``documents``, and ``counts``
    what each counts in the loss."""

    ids: Tensor
    positions: Tensor
    groups: list[Group]
    wanted: Tensor
    targets: Tensor
    documents: Tensor
    counts: Tensor


class Encoder:
    """Turns messages into documents, piece by piece, as the chat template lays them out."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.start, self.end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
        self.line_end = self.encode("\n")
        self.headers = {
            role: [self.start, *self.encode(f"{role}\n")] for role in ("system", "user", "assistant")
        }

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def document(self, messages: list[dict[str, str]], graded: Iterable[int] | None = None) -> Document:
        """``graded``: the indices of the messages to predict. None: all of the assistant's, and the rest a little,
        so that the model is one of the language, and not of the answers alone."""
        chosen = None if graded is None else set(graded)
        other = 0.0 if chosen is not None else OTHERS_COUNT
        ids: list[int] = []
        counts: list[float] = []
        for index, message in enumerate(messages):
            header, content = self.headers[message["role"]], [*self.encode(message["content"]), self.end]
            predicted = message["role"] == "assistant" if chosen is None else index in chosen
            ids += header + content + self.line_end
            count = 1.0 if predicted else other
            counts += [other] * len(header) + [count] * len(content) + [other] * len(self.line_end)
        counts[0] = 0.0  # nothing comes before it
        return Document(ids, counts)


def collate(documents: list[Document], total: int | None = None) -> Batch:
    """Lay documents end to end, sorted by padded length; ``total`` pads the token axis to a fixed size."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, document in enumerate(documents):
        by_length[padded(len(document.ids))].append(index)
    groups: list[Group] = []
    ids: list[int] = []
    wanted: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    counts: list[float] = []
    for length, members in sorted(by_length.items()):
        groups.append(Group(len(ids), len(members), length))
        for index in members:
            document, start = documents[index], len(ids)
            ids += document.ids + [0] * (length - len(document.ids))
            for offset, count in enumerate(document.counts):
                if count > 0:
                    counts.append(count)
                    wanted.append(start + offset - 1)
                    targets.append(document.ids[offset])
                    owners.append(index)
    if total is not None and total > len(ids):
        groups.append(Group(len(ids), 1, total - len(ids)))
        ids += [0] * (total - len(ids))
    positions = torch.cat([torch.arange(group.length).repeat(group.count) for group in groups])
    return Batch(*(torch.tensor(ids), positions, groups), *map(torch.tensor, (wanted, targets, owners, counts)))


def padded(length: int) -> int:
    """The document length that attention runs at."""
    return next(size for size in LENGTHS if size >= length)


def fill(draw: Callable[[], Document], total: int) -> list[Document]:
    """Draw documents until the next would not fit into ``total`` tokens, padding included."""
    documents: list[Document] = []
    used = 0
    while True:
        document = draw()
        if len(document.ids) > LENGTHS[-1]:
            continue
        used += padded(len(document.ids))
        if used > total:
            return documents
        documents.append(document)

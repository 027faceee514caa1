"""What a comparison found, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import WeightReference
from ftllm_nb.verification.parting import Parting

_MOST_AT_AN_END = 12
"""Operators that are listed from where values still agree, and as many up to where they part."""


@dataclass(frozen=True)
class Cause:
    """What makes the place equal. `logits`: how far those are with it, in all calls of the same line; None where that
    was not tried."""

    sentence: str
    call: Call
    logits: float | None


@dataclass(frozen=True)
class StepFault:
    """An operator whose values of tokens one by one are not those of the same tokens at once, or a kernel that computes
    something else than its NumPy reference (`call` None where none is known)."""

    sentence: str
    call: Call | None


@dataclass(frozen=True)
class Verdict:
    """Whether a graph computes what the reference computes; `str()` says it in words.

    `logits`: the relative difference of the logits; `places`: how many values were compared of each text; `tokens`: of
    all texts. Where they part, `parting` says where, and `cause` why, if that was found; `left_out`: sentences on what
    of the checkpoint the graph does not read.
    """

    reference: str
    tokens: int
    texts: int
    places: int
    logits: float
    parting: Parting | None = None
    cause: Cause | None = None
    step_fault: StepFault | None = None
    left_out: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether nothing was found."""
        return self.parting is None and self.step_fault is None

    @property
    def call(self) -> Call | None:
        """The call that is named: the cause's, else the first one that may be to blame."""
        if self.cause is not None:
            return self.cause.call
        if self.parting is not None:
            return self.parting.suspects[0].call
        return self.step_fault.call if self.step_fault is not None else None

    def __str__(self) -> str:
        texts = "1 text" if self.texts == 1 else f"{self.texts} texts"
        lines = [
            f"compared with {self.reference}: {self.places} places, {texts} of {self.tokens} tokens in all, "
            "read at once and one by one"
        ]
        if self.parting is not None:
            lines += self._parting_lines(self.parting)
        elif self.step_fault is not None:
            lines.append(self.step_fault.sentence)
        else:
            lines.append(f"they are equal: logits differ by {self.logits:.1e} of their size")
        return "\n".join(lines)

    def _parting_lines(self, parting: Parting) -> list[str]:
        site = parting.site
        lines = [
            f"they part at {site.module}, {site.role} of {shown_call(site.node.call)}",
            f"  ours {list(parting.ours_shape)}, theirs {list(parting.theirs_shape)}; they differ by "
            f"{parting.difference:.2g} of their size, at most by {parting.largest:.3g}, at token {parting.token}",
        ]
        if parting.agreed is not None:
            agreed, difference = parting.agreed
            lines.append(f"  {agreed.module} before it agrees ({agreed.role}, to {difference:.0e})")
        if self.cause is not None:
            lines.append(f"likely cause, at {shown_call(self.cause.call)}")
            lines.append(f"  {self.cause.sentence}")
            if self.cause.logits is not None and self.cause.logits < 1e-3:
                lines.append(f"  with that in all calls of this line the logits agree, to {self.cause.logits:.0e}")
            elif self.cause.logits is not None:
                lines.append("  with that this place agrees, and a later one does not: mend it and compare again")
        else:
            lines.append("between the two are" if len(parting.suspects) > 1 else "the operator is")
            lines += [f"  {each}" for each in shortened([shown_call(node.call) for node in parting.suspects])]
            if _reads_the_same(parting):
                lines.append("  what it reads is the same: its weight is another one, another model's or rounded")
            lines += self.left_out
        lines.append(f"logits differ by {self.logits:.2g} of their size")
        return lines


def _reads_the_same(parting: Parting) -> bool:
    """Whether an operator with a weight makes something else of what agrees."""
    node = parting.site.node
    has_weight = any(isinstance(each, WeightReference) for each in node.call.arguments.values())
    return parting.site.role == "output" and parting.suspects == (node,) and has_weight


def shortened(calls: list[str]) -> list[str]:
    """The first and the last of many: a fault may be at either end."""
    left_out = len(calls) - 2 * _MOST_AT_AN_END
    if left_out <= 1:
        return calls
    return [*calls[:_MOST_AT_AN_END], f"… {left_out} operators more", *calls[-_MOST_AT_AN_END:]]


def shown_call(call: Call) -> str:
    """An operator by its name, its number and the user's line."""
    return f"{call.operator.name} (operator {call.index}) at {call.where}"

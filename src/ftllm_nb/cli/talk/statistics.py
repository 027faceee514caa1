"""What a turn took: counts and times of its answer, as `/stats` and `--json` show them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftllm_nb.engine.generation import GenerationStats


@dataclass(frozen=True)
class TurnStatistics:
    """Tokens are counts, times seconds. `reused_tokens` of the prompt were still in the KV cache."""

    prompt_tokens: int
    reused_tokens: int
    answer_tokens: int
    prefill_tokens: int
    """Tokens of the prompt that were read before the answer ended: not all where it was stopped."""
    prefill_seconds: float
    prefill_tokens_per_second: float
    decode_seconds: float
    """Spent on the answer's tokens after the first, which comes with the end of the prompt."""
    decode_tokens_per_second: float
    time_to_first_token: float
    """From the question to the first piece of text; 0 where there was none."""
    seconds: float
    """From the question to the end of the answer."""
    finish_reason: str
    """"stop" (the model ended it), "length" (--max_tokens, or a full context), "loop" (it only repeated itself),
    "stopped" (Ctrl-C)."""

    @property
    def context_tokens(self) -> int:
        """Tokens that the conversation took when the answer ended."""
        return self.prompt_tokens + self.answer_tokens

    def as_json(self) -> dict[str, Any]:
        """Names and values, times rounded to microseconds."""
        return {
            name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, value: Any) -> TurnStatistics | None:
        """The inverse of `as_json`; None for anything else, since nothing depends on a saved statistic."""
        names = {field.name: str if field.name == "finish_reason" else (int, float) for field in fields(cls)}
        if not isinstance(value, dict) or value.keys() != names.keys():
            return None
        if not all(isinstance(value[name], kind) for name, kind in names.items()):
            return None
        return cls(**value)


def turn_statistics(stats: GenerationStats, first_piece_after: float | None, seconds: float) -> TurnStatistics:
    """The engine's counts of an answer, and the times that its reader saw."""
    return TurnStatistics(
        prompt_tokens=stats.prompt_tokens,
        reused_tokens=stats.reused_tokens,
        answer_tokens=stats.answer_tokens,
        prefill_tokens=stats.prefill_tokens,
        prefill_seconds=stats.prefill_seconds,
        decode_seconds=stats.decode_seconds,
        prefill_tokens_per_second=stats.prefill_tokens_per_second,
        decode_tokens_per_second=stats.decode_tokens_per_second,
        time_to_first_token=first_piece_after or 0.0,
        seconds=seconds,
        finish_reason=stats.finish_reason,
    )

"""show the last answer's speed and how much of the cache it used"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ENDS = {
    "stop": "ended by the model",
    "length": "cut off by max_tokens or the end of the context",
    "stopped": "stopped by Ctrl-C",
    "loop": "ended, since it only repeated itself",
}
"""How an answer ended, by its finish reason."""


def run(repl: Repl, argument: str) -> None:
    """A line each; then the sums of the conversation."""
    known = [turn.statistics for turn in repl.conversation.turns if turn.statistics is not None]
    if not known:
        repl.screen.note("no answer yet")
        return
    last = known[-1]
    answers = "answer" if len(known) == 1 else "answers"
    tokens = "token" if last.answer_tokens == 1 else "tokens"
    asked = last.prompt_tokens - last.reused_tokens
    read = f"{last.prefill_tokens} read" if last.prefill_tokens == asked else f"{last.prefill_tokens} of {asked} read"
    rows = [
        ("prompt", f"{last.prompt_tokens} tokens: {last.reused_tokens} reused from the cache, {read}"),
        ("reading", pace(last.prefill_seconds, last.prefill_tokens_per_second, "prefill")),
        ("answer", f"{last.answer_tokens} {tokens}, {ENDS.get(last.finish_reason, last.finish_reason)}"),
        ("answering", pace(last.decode_seconds, last.decode_tokens_per_second, "decode")),
        ("first token", f"after {last.time_to_first_token:.3f} s" if last.time_to_first_token else "none"),
        ("all of it", f"{last.seconds:.2f} s"),
        ("all turns", f"{len(known)} {answers}, {sum(each.answer_tokens for each in known)} tokens, "
                      f"{sum(each.reused_tokens for each in known)} reused"),
    ]  # fmt: skip
    repl.screen.table(rows)


def pace(seconds: float, tokens_per_second: float, name: str) -> str:
    """How long a part of the work took, and its speed where there is one."""
    return f"{seconds:.2f} s, {tokens_per_second:.1f} tokens/s ({name})" if tokens_per_second else f"{seconds:.2f} s"

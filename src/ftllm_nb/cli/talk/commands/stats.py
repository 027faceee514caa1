"""show the last answer's speed and how much of the cache it used"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ENDS = {
    "stop": "ended by the model",
    "length": "cut off by max_tokens or the end of the context",
    "stopped": "stopped by Ctrl-C",
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
    prefilled = last.prompt_tokens - last.reused_tokens
    tokens = "token" if last.answer_tokens == 1 else "tokens"
    rows = [
        ("prompt", f"{last.prompt_tokens} tokens: {last.reused_tokens} reused from the cache, {prefilled} computed"),
        ("prefill", f"{last.prefill_tokens_per_second:.1f} tokens/s"),
        ("first token", f"after {last.time_to_first_token:.3f} s"),
        ("answer", f"{last.answer_tokens} {tokens} in {last.seconds:.2f} s, "
                   f"{ENDS.get(last.finish_reason, last.finish_reason)}"),
        ("decode", f"{last.decode_tokens_per_second:.1f} tokens/s"),
        ("all turns", f"{len(known)} {answers}, {sum(each.answer_tokens for each in known)} tokens, "
                      f"{sum(each.reused_tokens for each in known)} reused"),
    ]  # fmt: skip
    repl.screen.table(rows)

"""The line below the prompt: model, weights, instruction tier and threads, context used, tokens a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.characters import text_width

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

SEPARATOR = " | "


def toolbar(repl: Repl, columns: int) -> str:
    """As much as fits; what matters most stays longest."""
    conversation = repl.conversation
    used, limit = conversation.context_tokens(), conversation.model.get_max_input_len()
    context = f"{used}/{limit} tokens"
    last = conversation.turns[-1].statistics if conversation.turns else None
    speed = f"{last.decode_tokens_per_second:.1f} tokens/s" if last and last.decode_tokens_per_second else ""
    name = repl.model_name.rstrip("/").rpartition("/")[2]
    waits = ""
    if repl.waiting:
        files = sum(each.files for each in repl.waiting)
        waits = f"{repl.waiting[0].name} waits" if files == 1 else f"{files} files wait"
    for parts in (
        [name, repl.weights, context, waits, speed],
        [name, context, waits, speed],
        [context, waits, speed],
        [context, waits],
        [context],
    ):
        line = SEPARATOR.join(part for part in parts if part)
        if text_width(line) < columns:
            return line
    return context[: columns - 1]

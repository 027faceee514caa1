"""The conversation that was held last, kept after each turn for `--continue`."""

from __future__ import annotations

from pathlib import Path

from ftllm_nb.cli.talk.conversation import Conversation
from ftllm_nb.cli.talk.saved import SavedConversation, as_json, read_conversation, write_text
from ftllm_nb.errors import UsageError
from ftllm_nb.user_folders import state_folder


def last_conversation_file() -> Path | None:
    """Where it lies; None where the user has no home."""
    folder = state_folder()
    return None if folder is None else folder / "last-conversation.json"


def remember(conversation: Conversation, model: str) -> None:
    """Keep the conversation. A folder that cannot be written is no error: then nothing is kept."""
    file = last_conversation_file()
    if file is None:
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text(str(file), as_json(conversation, model))
    except (OSError, UsageError):
        return


def recall() -> SavedConversation:
    """The conversation that was held last. Raises `UsageError` where there is none."""
    file = last_conversation_file()
    if file is None or not file.is_file():
        raise UsageError("there is no conversation to go on with: leave out --continue.")
    return read_conversation(str(file))

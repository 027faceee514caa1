"""Talking on a terminal: a prompt, and answers that appear as they are made."""

from __future__ import annotations

import os
import sys

from ftllm_nb.cli.talk.conversation import Conversation
from ftllm_nb.cli.talk.interrupt import interrupt_stops
from ftllm_nb.errors import ContextLengthError, FtllmError

PROMPT = "> "
CONTROL_CHARACTERS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Not printed: an answer could hold them by chance or by malice, and they would steer the terminal."""


def talk_on_terminal(conversation: Conversation, banner: str) -> None:
    """Ask and answer until the user leaves; the banner says how."""
    # Reports of the cursor's position could arrive while an answer is made, and be echoed into it.
    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
    from prompt_toolkit import PromptSession

    print(banner, flush=True)
    session: PromptSession[str] = PromptSession(PROMPT)
    while True:
        try:
            question = session.prompt()
        except KeyboardInterrupt:
            print("(stop or Ctrl-D leaves)", flush=True)
            continue
        except EOFError:
            return
        word = question.strip()
        if word == "stop":
            return
        if word == "clear":
            conversation.forget()
            print("(the conversation is forgotten)", flush=True)
        elif word:
            show_answer(conversation, question)


def show_answer(conversation: Conversation, question: str) -> None:
    """Print the answer as it is made. Ctrl-C ends it, an error is reported, and the session goes on."""
    try:
        with interrupt_stops(conversation):
            for piece in conversation.ask(question):
                print(piece.translate(CONTROL_CHARACTERS), end="", flush=True)
    except KeyboardInterrupt:
        conversation.stopped = True
    except ContextLengthError as error:
        print(f"error: {error} (clear forgets the conversation)", file=sys.stderr, flush=True)
        return
    except FtllmError as error:
        print(f"\nerror: {error}", file=sys.stderr, flush=True)
        return
    print(" (stopped)" if conversation.stopped else "", flush=True)

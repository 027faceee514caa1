"""change a setting; VALUE default leaves it to the model again"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ftllm_nb.cli.parser import nearest
from ftllm_nb.cli.sampling_arguments import ENGINE_NAMES, SAMPLING
from ftllm_nb.cli.value_types import ON_OR_OFF
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "NAME VALUE"
DEFAULT = "default"
THE_MODELS, OURS = "the model's generation_config.json", "ftllm-nb's own defaults"
SWITCHES = {
    "markdown": "show headings, emphasis and code in colours",
    "hide_thinking": "leave out what the model thinks before it answers",
    "enable_thinking": "tell the chat template whether the model should think",
}


THINK = {
    "on": "enable_thinking on",
    "off": "enable_thinking off",
    "default": "enable_thinking default",
    "show": "hide_thinking off",
    "hide": "hide_thinking on",
}
"""What /set think VALUE stands for."""


def run(repl: Repl, argument: str) -> None:
    """A setting of sampling, or a switch."""
    name, text = named(argument)
    if name in ("think", "nothink"):
        word = "off" if name == "nothink" else text.lower() or "on"
        if word not in THINK or (name == "nothink" and text):
            raise UsageError(f"/set think takes {', '.join(THINK)}; /set nothink turns thinking off.")
        name, text = named(THINK[word])
    if name not in SAMPLING and name not in SWITCHES:
        known = [*SAMPLING, *SWITCHES, "think"]
        raise UsageError(f"{name!r} is no setting{nearest(name, known)}; known are {', '.join(known)}.")
    if not text:
        raise UsageError(f"/set {name} needs a value, as in /set {name} {complete(repl, name + ' ')[0].split()[1]}.")
    if name in SWITCHES:
        set_switch(repl, name, text)
    elif text == DEFAULT:
        repl.conversation.settings.pop(name, None)
        repl.origins.pop(name, None)
    else:
        try:
            repl.conversation.settings[name] = SAMPLING[name].parse(text)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{name}: {error}.") from None
        repl.origins[name] = "/set"
    repl.remember()
    repl.screen.note(f"{name} is {setting_text(repl, name)}")
    if name == "enable_thinking" and not repl.conversation.template_knows_thinking:
        repl.screen.note("the model has no chat template with such a switch: nothing changes")


def named(argument: str) -> tuple[str, str]:
    """A setting's name and the text of its value, which may be "" where none is given."""
    name, _, text = argument.replace("=", " ", 1).partition(" ")
    return name.replace("-", "_"), text.strip()


def set_switch(repl: Repl, name: str, text: str) -> None:
    """One of the switches; only the chat template's has a default of its own."""
    value = ON_OR_OFF.get(text.lower())
    if text == DEFAULT and name == "enable_thinking":
        repl.conversation.enable_thinking = None
        return
    if value is None:
        raise UsageError(f"{name} is a switch: on or off is expected, not {text!r}.")
    if name == "enable_thinking":
        repl.conversation.enable_thinking = value
    else:
        setattr(repl, name, value)


def setting_text(repl: Repl, name: str) -> str:
    """A setting's value and whose it is, as `/show` shows it."""
    if name in SAMPLING:
        return sampling_text(repl, name)
    value = repl.conversation.enable_thinking if name == "enable_thinking" else getattr(repl, name)
    return {True: "on", False: "off", None: "as the chat template does"}[value]


def sampling_text(repl: Repl, name: str) -> str:
    """A setting of sampling, as it holds for the next answer."""
    from ftllm_nb.engine.sampling_settings import GIVEN, MODEL

    settings, sources = repl.conversation.sampling(), repl.conversation.sampling_sources()
    value = getattr(settings, ENGINE_NAMES.get(name, name))
    if name == "seed" and value is None:
        return "another each time"
    if name == "max_tokens" and value is None:
        return "as many as the context holds"
    source = sources[name]
    if name == "temperature" and not settings.do_sample:
        value, source = 0, sources["do_sample"]
    whose = repl.origins.get(name, "/set") if source == GIVEN else THE_MODELS if source == MODEL else OURS
    in_vain = settings.is_greedy and name in ("top_p", "top_k", "min_p", "seed")
    shown = f"{value:g}" if isinstance(value, float) else value
    return f"{shown}, from {whose}{'; temperature 0 leaves no choice' if in_vain else ''}"


def complete(repl: Repl, text: str) -> list[str]:
    """Names, then what a value may look like."""
    name, space, value = text.partition(" ")
    if not space:
        return [f"{each} " for each in (*SAMPLING, *SWITCHES, "think") if each.startswith(name)]
    if name == "think":
        return [f"think {each}" for each in THINK if each.startswith(value)]
    values = ["on", "off"] if name in SWITCHES else EXAMPLES.get(name, [])
    return [f"{name} {each}" for each in (*values, DEFAULT) if each.startswith(value)]


EXAMPLES = {
    "temperature": ["0", "0.7", "1"],
    "top_p": ["0.9", "1"],
    "top_k": ["20", "50", "0"],
    "min_p": ["0.05", "0"],
    "repeat_penalty": ["1.1", "1"],
    "seed": ["1"],
    "max_tokens": ["256", "1024"],
}

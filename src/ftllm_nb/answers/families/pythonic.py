"""Models that are told to answer [f(a=1, b="x"), g()], as Llama's guides do; read as Llama's other calls are."""

from __future__ import annotations

from ftllm_nb.answers.call_form import PLAIN
from ftllm_nb.answers.families.llama3 import Llama3
from ftllm_nb.answers.openings import Opening
from ftllm_nb.answers.tags import Tags


class Pythonic(Llama3):
    """See Llama3."""

    signs = (("[func_name1(",), ("[func_name(",))
    hint = ""
    form = PLAIN

    def openings(self, tags: Tags) -> list[Opening]:
        """See Family."""
        return []


family = Pythonic()

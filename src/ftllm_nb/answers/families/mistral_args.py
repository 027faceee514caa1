"""Mistral since 2025 (Small 3.2, Magistral, Devstral): [TOOL_CALLS]NAME[ARGS]{…}, once for each call."""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.families.mistral import ARGS, BEGIN, Mistral


class MistralArgs(Mistral):
    """See Mistral."""

    signs = ((BEGIN, ARGS),)
    form = CallForm(BEGIN, "", name_key="", separator=ARGS)


family = MistralArgs()

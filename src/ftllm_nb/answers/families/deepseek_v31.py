"""DeepSeek V3.1: as V3, but a call is <｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}<｜tool▁call▁end｜>."""

from __future__ import annotations

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.families.deepseek_v3 import BEGIN, CALL, CALL_END, END, SEPARATOR, DeepSeekV3


class DeepSeekV31(DeepSeekV3):
    """See DeepSeekV3."""

    signs = ((CALL, SEPARATOR),)
    form = CallForm(f"{BEGIN}{CALL}", f"{CALL_END}{END}", name_key="", separator=SEPARATOR)


family = DeepSeekV31()

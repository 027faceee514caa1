"""ByteDance Seed-OSS: as Qwen3-Coder, in tags of its own, <seed:tool_call>."""

from __future__ import annotations

from dataclasses import replace

from ftllm_nb.answers.families.qwen3_coder import FUNCTION, Qwen3Coder


class SeedOss(Qwen3Coder):
    """See Qwen3Coder."""

    markup = replace(Qwen3Coder.markup, outer=("</seed:tool_call>",))
    signs = (("<seed:tool_call>", FUNCTION, "<parameter="),)
    begins = ("<seed:tool_call>", FUNCTION)
    ends = ("</seed:tool_call>", "</function>")


family = SeedOss()

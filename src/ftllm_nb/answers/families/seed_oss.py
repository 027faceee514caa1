"""ByteDance Seed-OSS: as Qwen3-Coder, in tags of its own, <seed:tool_call>."""

from __future__ import annotations

from ftllm_nb.answers.families.qwen3_coder import FUNCTION, Qwen3Coder


class SeedOss(Qwen3Coder):
    """See Qwen3Coder."""

    outer = ("<seed:tool_call>", "</seed:tool_call>")
    signs = (("<seed:tool_call>", FUNCTION, "<parameter="),)
    begins = ("<seed:tool_call>", FUNCTION)
    ends = ("</seed:tool_call>", "</function>")


family = SeedOss()

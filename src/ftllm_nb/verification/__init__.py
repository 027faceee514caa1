"""Is a model's graph right: compared, value by value, with what transformers or another graph computes.

`ftllm_nb.verification.run.verify` is `ftllm-nb verify` for programs and tests.
"""

"""Quantized copies of models on disk: `ftllm-nb quantize`.

methods/ has one file for each way to choose scales, formats/ one for each form of folder. plan.py says which tensor
becomes what, run.py writes it, beside its place (partial.py), so that nothing half-written ever looks like a model.
"""

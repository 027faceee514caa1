"""Quantized copies of models on disk: `ftllm-nb quantize`.

methods/ has one file for each way to choose scales, formats/ one for each form of folder. plan.py says which tensor
becomes what, folder.py writes it so that nothing half-written ever looks like a model.
"""

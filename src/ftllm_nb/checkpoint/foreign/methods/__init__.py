"""How other tools store quantized matrices, one file a method.

A file holds `METHODS`, the values of `quant_method` that mean it, and `matrices(stored, entries)`, which gives the
matrices of a checkpoint (../matrix.py), their headers checked; `entries` are those of `quantization_config`, or, where
config.json has none, of the file that `BESIDE` names.
"""

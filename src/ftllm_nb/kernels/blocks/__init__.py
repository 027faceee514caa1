"""Products with weights in ggml's block types, whose own bits stay in memory.

A unit is what 16 neighbouring rows have of one block each: block_type.py says how it lies. Another block type is a file
in types/.
"""

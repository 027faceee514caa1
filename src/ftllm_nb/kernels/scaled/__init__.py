"""Kernels for weights that are codes of 8 or 4 bits with scales (quant/scaled.py), multiplied as floats.

A block of 16 rows holds its codes, `[columns][16]` bytes or `[columns / 2][16]` pairs of 4 bits, the even column in the
lower ones; then the scales `[groups][16]`, and where there are some the offsets likewise.
"""

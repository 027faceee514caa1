"""Operators, one file each: signature, shape rule, NumPy reference, kernel. A new file is a new operator."""

"""GGUF, the files of llama.cpp: metadata and tensors in blocks, read as they are.

The reader is our own and not the `gguf` package, which tests compare it with: that one checks little (a lying count or
offset ends in a traceback or in gigabytes), makes an object of every string of the vocabulary (seconds for 250,000
tokens), joins no split files, and would bring PyYAML, tqdm and requests along.
"""

from ftllm_nb.checkpoint.gguf.file import GgufFile, read_gguf
from ftllm_nb.checkpoint.gguf.header import GgufTensor

__all__ = ["GgufFile", "GgufTensor", "read_gguf"]

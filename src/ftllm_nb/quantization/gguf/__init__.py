"""GGUF files that `ftllm-nb quantize` writes.

A file is drafted: its metadata, and its tensors' names, types and shapes, as its architecture has them
(checkpoint/gguf/way_out.py, tokenizer/gguf/write.py). The draft is read as any file is, and what is read must be the
same model (agreement.py): what GGUF has no entry for is found there, before a weight is read. Then each tensor is made
so that reading puts back what the model has.
"""

"""Kinds of tokens: the values of `tokenizer.ggml.token_type`, where 0 stands for none of them."""

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

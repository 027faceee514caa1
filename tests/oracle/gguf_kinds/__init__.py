"""How each family of architectures is written as GGUF, `KINDS` by model_type in each file."""

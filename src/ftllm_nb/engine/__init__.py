"""Sequences, caches, sampling and generation: everything that knows token ids but neither text nor models."""

"""Hugging Face model folders as named NumPy arrays: files in, arrays out; knows no model and no kernel."""

from ftllm_nb.checkpoint.base import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.folder import open_checkpoint
from ftllm_nb.checkpoint.random import RandomCheckpoint

__all__ = ["Checkpoint", "RandomCheckpoint", "TensorInfo", "open_checkpoint"]

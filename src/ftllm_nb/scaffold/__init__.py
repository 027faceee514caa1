"""The beginning of a model's file, from its config and its tensors' names and shapes alone."""

"""What comes back from a model: reasoning, content and calls of functions, in each family's own form."""

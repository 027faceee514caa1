"""What a model's matrices are multiplied by: a text goes through the model, and inputs of products are summed up."""

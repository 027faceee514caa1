"""A model's graph for people to read: a table or a picture of its operators, from headers alone."""

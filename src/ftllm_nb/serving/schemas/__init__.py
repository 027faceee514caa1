"""JSON schemas as clients send them, made into what the grammar library follows."""

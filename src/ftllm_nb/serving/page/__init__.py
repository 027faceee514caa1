"""The chat page: files of its own that a browser runs, on the same API that programs use."""

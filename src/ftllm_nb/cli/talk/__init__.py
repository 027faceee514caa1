"""Talking with a loaded model: the conversation, and its forms on a terminal and in a pipe."""

"""The chat page: Gradio's ChatInterface on the server's own application and engine."""

"""OpenAI's HTTP API over the batching engine. Needs the extra `[server]`."""

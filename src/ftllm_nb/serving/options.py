"""What the server may be told, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address


@dataclass(frozen=True)
class Limits:
    """What one request may ask for; beyond it the answer is status 400, or 413 for `body_bytes`."""

    body_bytes: int = 4 << 20
    choices: int = 128
    """n, and prompts of one completion, together; OpenAI's most of n."""
    stop_strings: int = 64
    stop_characters: int = 256
    top_logprobs: int = 20
    prompt_logprobs: int = 1 << 20
    """Numbers, of all tokens of a request's prompts together."""
    logit_biases: int = 1024
    messages: int = 4096
    tools: int = 128
    choice_texts: int = 4096
    """Among which an answer must choose."""
    schema_bytes: int = 64 << 10
    schema_depth: int = 32
    body_seconds: float = 30.0
    """For sending a request's body."""
    send_seconds: float = 60.0
    """For taking one piece of the answer."""
    headers_seconds: float = 30.0
    """For sending a request's headers."""


@dataclass(frozen=True)
class ServerOptions:
    """See `ftllm-nb server --help`. `kv_cache_bytes` None: what cache_room.py says."""

    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: tuple[str, ...] = ()
    model_name: str = "demo"
    tool_call_parser: str | None = None
    """The family of the model's calls; None: the one that the chat template belongs to."""
    title: str | None = None
    """Of the chat page at /; None: there is no page."""
    strict_model_name: bool = False
    """Whether a request for a model of another name is refused."""
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    key_for_health: bool = False
    open_metrics: bool = False
    max_batch: int = 32
    max_queue: int = 256
    chunked_prefill_size: int = 64
    max_context_length: int | None = None
    kv_cache_bytes: int | None = None
    kv_cache_idle_seconds: float = 300.0
    """After so long without requests the cache's memory is given back; 0: never."""
    request_seconds: float = 600.0
    shutdown_seconds: float = 10.0
    ping_seconds: float = 10.0
    log_text: bool = False
    limits: Limits = field(default_factory=Limits)

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach it."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

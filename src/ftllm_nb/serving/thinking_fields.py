"""What a chat's request says of thinking: whether, how much, and what else the chat template is told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from ftllm_nb.answers.style import AnswerStyle

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
OURS = frozenset({"messages", "tools", "documents", "add_generation_prompt"})
"""Variables of chat templates that requests have fields for."""
MOST_TOKENS = 2**31


class ReasoningOptions(BaseModel):
    """As OpenAI's Responses and OpenRouter have it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    effort: Effort | None = None
    enabled: bool | None = None
    max_tokens: int | None = Field(None, ge=0, lt=MOST_TOKENS)


class ThinkingOptions(BaseModel):
    """As Anthropic, DeepSeek, GLM and Kimi have it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    type: Literal["enabled", "disabled", "auto", "adaptive"] | None = None
    budget_tokens: int | None = Field(None, ge=0, lt=MOST_TOKENS)


class ThinkingFields(BaseModel):
    """`chat_template_kwargs` goes before the fields that say the same. A budget of -1 is none."""

    chat_template_kwargs: dict[str, Any] | None = Field(None, max_length=64)
    enable_thinking: bool | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningOptions | None = None
    thinking: ThinkingOptions | bool | None = None
    thinking_budget: int | None = Field(
        None,
        ge=-1,
        lt=MOST_TOKENS,
        validation_alias=AliasChoices(
            "thinking_budget", "reasoning_budget", "thinking_token_budget", "thinking_budget_tokens"
        ),
    )

    @field_validator("thinking", mode="before")
    @classmethod
    def _on_or_options(cls, value: Any) -> Any:
        """A sentence of both forms."""
        if value is not None and not isinstance(value, (bool, dict)):
            raise ValueError('it must be true, false, or an object such as {"type": "enabled", "budget_tokens": 500}')
        return value

    @field_validator("chat_template_kwargs")
    @classmethod
    def _no_fields_of_ours(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        taken = sorted(OURS & set(value or ()))
        if taken:
            raise ValueError(f"{taken[0]} is a field of the request, not a variable: write it there")
        return value

    @property
    def most_thinking(self) -> int | None:
        """The most tokens of thinking, None where nobody says."""
        given = [self.thinking_budget]
        given += [self.reasoning.max_tokens] if self.reasoning is not None else []
        given += [self.thinking.budget_tokens] if isinstance(self.thinking, ThinkingOptions) else []
        found = next((each for each in given if each is not None), None)
        if found is None:
            return 0 if self._is_on is False else None
        return None if found < 0 else found

    @property
    def _effort(self) -> Effort | None:
        if self.reasoning_effort is not None or self.reasoning is None:
            return self.reasoning_effort
        return self.reasoning.effort

    @property
    def _is_on(self) -> bool | None:
        """Whether the model is to think, None where nobody says."""
        told = (self.chat_template_kwargs or {}).get("enable_thinking")
        if isinstance(told, bool):
            return told
        if self.enable_thinking is not None:
            return self.enable_thinking
        if isinstance(self.thinking, bool):
            return self.thinking
        if self.thinking is not None and self.thinking.type in ("enabled", "disabled"):
            return self.thinking.type == "enabled"
        if self.reasoning is not None and self.reasoning.enabled is not None:
            return self.reasoning.enabled
        if self._effort is not None:
            return self._effort != "none"
        return None

    def template_variables(self, style: AnswerStyle) -> dict[str, Any]:
        """What the chat template is told besides messages and tools."""
        variables: dict[str, Any] = {}
        is_on = False if self.most_thinking == 0 else self._is_on
        if is_on is not None:
            variables.update(dict.fromkeys(style.family.thinking_variables, is_on))
        if self._effort not in (None, "none"):
            variables["reasoning_effort"] = self._effort
        return {**variables, **(self.chat_template_kwargs or {})}

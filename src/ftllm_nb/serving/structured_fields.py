"""What a request says of the form of its answer, as vLLM's, llama.cpp's and SGLang's clients say it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ftllm_nb.serving.constraints import WHITESPACE
from ftllm_nb.serving.options import Limits
from ftllm_nb.serving.regexes import RegexError, whitespace_pattern

LIMITS = Limits()
LONGEST_WHITESPACE = 256

Choices = Annotated[list[str], Field(min_length=1, max_length=LIMITS.choice_texts, fail_fast=True)]


def _known_whitespace(pattern: str) -> str:
    try:
        return whitespace_pattern(pattern)
    except RegexError as error:
        raise ValueError(str(error)) from error


Whitespace = Annotated[str, Field(max_length=LONGEST_WHITESPACE), AfterValidator(_known_whitespace)]


class StructuredOutputs(BaseModel):
    """vLLM's object: one of the forms that answers may have, and how JSON is written. Whom it names to see to that, and
    whether another may, changes no answer."""

    model_config = ConfigDict(strict=True, extra="allow")

    json_: dict[str, Any] | str | None = Field(None, alias="json")
    regex: str | None = None
    choice: Choices | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: None = None
    disable_any_whitespace: bool | None = None
    disable_additional_properties: bool | None = None
    disable_fallback: bool | None = None
    whitespace_pattern: Whitespace | None = None

    def forms(self) -> dict[str, Any]:
        """Each of the forms by its name."""
        return {
            "json": self.json_, "regex": self.regex, "choice": self.choice, "grammar": self.grammar,
            "json_object": self.json_object,
        }  # fmt: skip

    @model_validator(mode="after")
    def _known_options(self) -> StructuredOutputs:
        options = {name for name, value in (self.model_extra or {}).items() if value is not None}
        unknown = sorted(options - {"backend", "_backend", "_backend_was_auto"})
        if unknown:
            raise ValueError(f"there is no option {unknown[0][:64]!r}: leave it out")
        if self.disable_any_whitespace and self.whitespace_pattern:
            raise ValueError("disable_any_whitespace and whitespace_pattern exclude each other: leave one of them out")
        return self


class StructuredFields(BaseModel):
    """Each of the first ones is a form; `asked_forms` says which may stand together."""

    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: Choices | None = None
    guided_grammar: str | None = None
    json_schema: dict[str, Any] | str | None = None
    grammar: str | None = None
    regex: str | None = None
    ebnf: str | None = None
    guided_whitespace_pattern: Whitespace | None = None

    @property
    def whitespace(self) -> str:
        """What may stand between the parts of JSON, a regular expression; "" for nothing."""
        options = self.structured_outputs
        if options is not None and options.disable_any_whitespace:
            return ""
        if options is not None and options.whitespace_pattern is not None:
            return options.whitespace_pattern
        return WHITESPACE if self.guided_whitespace_pattern is None else self.guided_whitespace_pattern

    @property
    def closes_patterns(self) -> bool:
        """Whether objects with `patternProperties` have no other properties, too."""
        return self.structured_outputs is not None and bool(self.structured_outputs.disable_additional_properties)

"""What a folder's small JSON files say about its tokenizer: named tokens, added tokens, prefix rules."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import AddedToken, shorten

NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The roles of tokens that chat templates can read as variables."""

MODEL_TYPES_WITH_OWN_RULES = frozenset(
    "arctic ernie4_5 ernie4_5_moe flex_olmo glm glm4 glm4_moe glm4_moe_lite gpt_bigcode granite granitemoe"
    " granitemoehybrid granitemoeshared hyperclovax internlm2 internlm3 jamba kimi_linear mimo_v2_flash"
    " minicpm3 minimax_m2 ministral ministral3 mistral mistral3 mixtral nemotron olmo2 olmo3 persimmon phi3"
    " phimoe qwen2 stablelm".split()
)
"""Model types whose folders name LlamaTokenizer but which transformers reads by the file's own rules."""

MAX_JSON_BYTES = 64 * 2**20


@dataclass
class TokenizerSettings:
    """Settings beside the vocabulary file, from tokenizer_config.json and its legacy companions.

    `named` maps a role such as "eos_token" to its token, `unnamed` are the roles that the folder leaves
    empty; `added` are the tokens to add to the vocabulary, with the id that the folder gives them where it
    gives one; `extra_special` are further special tokens.
    """

    folder: Path
    tokenizer_class: str | None
    model_type: str | None
    legacy: bool | None
    add_prefix_space: bool
    add_bos_token: bool
    add_eos_token: bool
    has_remote_code: bool
    named: dict[str, AddedToken] = field(default_factory=dict)
    unnamed: frozenset[str] = frozenset()
    added: list[tuple[int | None, AddedToken]] = field(default_factory=list)
    extra_special: list[AddedToken] = field(default_factory=list)

    @property
    def follows_llama_rules(self) -> bool:
        """Whether transformers tokenizes the folder as Llama's, whatever the vocabulary file itself says."""
        name = (self.tokenizer_class or "").removesuffix("Fast")
        return name == "LlamaTokenizer" and self.model_type not in MODEL_TYPES_WITH_OWN_RULES

    def special_tokens(self) -> list[AddedToken]:
        """Named and extra special tokens."""
        return [*self.named.values(), *self.extra_special]


def read_settings(
    folder: Path, tokenizer_config: dict[str, Any], config: dict[str, Any]
) -> TokenizerSettings:
    """Settings of `folder` from its parsed tokenizer_config.json and config.json (both {} where absent)."""
    where = str(folder / "tokenizer_config.json")
    merged = dict(tokenizer_config)
    added: list[tuple[int | None, AddedToken]] = []
    if tokenizer_config.get("added_tokens_decoder") is not None:
        added = _added_tokens_decoder(tokenizer_config["added_tokens_decoder"], where)
    else:
        merged.update(read_json_object(folder / "special_tokens_map.json"))
    auto_map = merged.get("auto_map")
    settings = TokenizerSettings(
        folder=folder,
        tokenizer_class=_optional_text(merged, "tokenizer_class", where)
        or _optional_text(config, "tokenizer_class", str(folder / "config.json")),
        model_type=config.get("model_type") if isinstance(config.get("model_type"), str) else None,
        legacy=_optional_flag(merged, "legacy", where),
        add_prefix_space=_optional_flag(merged, "add_prefix_space", where) is not False,
        add_bos_token=_optional_flag(merged, "add_bos_token", where) is True,
        add_eos_token=_optional_flag(merged, "add_eos_token", where) is True,
        has_remote_code=isinstance(auto_map, (list, tuple))
        or (isinstance(auto_map, dict) and "AutoTokenizer" in auto_map),
        added=added,
        unnamed=frozenset(role for role in NAMED_TOKENS if merged.get(role, role) in (None, "")),
    )
    for key, value in merged.items():
        if value in (None, ""):
            continue
        if key in NAMED_TOKENS:
            settings.named[key] = AddedToken.from_json(value, f"{where}, {key}", special=True)
        elif key.endswith("_token") and isinstance(value, (str, dict)):
            settings.extra_special.append(AddedToken.from_json(value, f"{where}, {key}", special=True))
    extra = merged.get("extra_special_tokens") or merged.get("additional_special_tokens") or []
    if isinstance(extra, dict):
        extra = list(extra.values())
    if not isinstance(extra, list):
        raise TokenizerError(
            f"{where}: additional_special_tokens must be a list of tokens, got {shorten(extra)}."
        )
    settings.extra_special += [
        AddedToken.from_json(one, f"{where}, additional_special_tokens", True) for one in extra
    ]
    if not added:
        settings.added = _added_tokens_file(folder / "added_tokens.json", settings)
    return settings


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, {} where there is no such file; TokenizerError for anything else."""
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise TokenizerError(
                f"{path} is larger than {MAX_JSON_BYTES // 2**20} MB, which no such file needs."
            )
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(value, dict):
        raise TokenizerError(f"{path} must hold a JSON object, got {shorten(value)}.")
    return value


def _added_tokens_decoder(value: object, where: str) -> list[tuple[int | None, AddedToken]]:
    if not isinstance(value, dict) or not all(str(key).isdecimal() for key in value):
        raise TokenizerError(f"{where}: added_tokens_decoder must map ids to tokens, got {shorten(value)}.")
    tokens: list[tuple[int | None, AddedToken]] = [
        (int(key), AddedToken.from_json(token, f"{where}, added_tokens_decoder {key}", special=False))
        for key, token in value.items()
    ]
    return sorted(tokens, key=lambda item: item[0] or 0)


def _added_tokens_file(path: Path, settings: TokenizerSettings) -> list[tuple[int | None, AddedToken]]:
    special = {token.content for token in settings.special_tokens()}
    tokens: list[tuple[int | None, AddedToken]] = []
    for content, token_id in read_json_object(path).items():
        if not isinstance(token_id, int) or isinstance(token_id, bool) or token_id < 0:
            raise TokenizerError(
                f"{path}: the id of {shorten(content)} must be an integer, got {shorten(token_id)}."
            )
        is_special = content in special
        tokens.append((token_id, AddedToken(content, special=is_special, normalized=not is_special)))
    return sorted(tokens, key=lambda item: item[0] or 0)


def _optional_flag(values: dict[str, Any], key: str, where: str) -> bool | None:
    value = values.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise TokenizerError(f"{where}: {key} must be true or false, got {shorten(value)}.")


def _optional_text(values: dict[str, Any], key: str, where: str) -> str | None:
    value = values.get(key)
    if value is None or isinstance(value, str):
        return value
    raise TokenizerError(f"{where}: {key} must be a string, got {shorten(value)}.")

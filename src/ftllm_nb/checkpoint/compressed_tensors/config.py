"""config.json's `quantization_config` in the compressed-tensors layout: which modules are stored how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftllm_nb.checkpoint.compressed_tensors.scheme import WeightScheme, read_scheme, write_scheme
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError

QUANT_METHOD = "compressed-tensors"
MIXED = "mixed-precision"
"""The format of a config whose groups have different ones."""
DENSE = "dense"
REGULAR = "re:"
"""What a target or an ignored name begins with that is a regular expression."""


@dataclass(frozen=True)
class QuantizationConfig:
    """Schemes by target, in the config's order, and the modules that no target means.

    A target is a module's name, "re:" and an expression that its name begins with, or the name of its class.
    """

    schemes: Mapping[str, WeightScheme]
    ignore: tuple[str, ...] = ()

    def scheme_of(self, module: str, module_class: str = "Linear") -> WeightScheme | None:
        """How a module (`model.layers.0.mlp.up_proj`) is stored; None where it is not quantized.

        Names go before expressions, and both before classes, as in the package.
        """
        if any(_matches(module, module_class, ignored) for ignored in self.ignore):
            return None
        found = [target for target in self.schemes if _matches(module, module_class, target)]
        found.sort(key=lambda target: (target == module_class, target.startswith(REGULAR), target))
        return self.schemes[found[0]] if found else None


def _matches(module: str, module_class: str, target: str) -> bool:
    if target.startswith(REGULAR):
        return re.match(target.removeprefix(REGULAR), module) is not None
    return target in (module, module_class)


def write_config(schemes: Mapping[str, WeightScheme], ignore: Sequence[str] = ()) -> dict[str, Any]:
    """The value of `quantization_config` for schemes by target; targets of equal schemes become one group."""
    targets: dict[WeightScheme, list[str]] = {}
    for target, scheme in schemes.items():
        targets.setdefault(scheme, []).append(target)
    layouts = {scheme.layout for scheme in targets}
    return {
        "quant_method": QUANT_METHOD,
        "format": layouts.pop() if len(layouts) == 1 else MIXED,
        "quantization_status": "compressed",
        "config_groups": {
            f"group_{number}": write_scheme(scheme, names) for number, (scheme, names) in enumerate(targets.items())
        },
        "ignore": list(ignore),
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }


def read_config(config: Mapping[str, Any], where: str) -> QuantizationConfig | None:
    """What a model's config says of quantization; None where it says nothing.

    `where` begins the sentences of the CheckpointErrors that are raised for what cannot be read: the file's path.
    """
    quantization = config.get("quantization_config")
    if quantization is None:
        return None
    where = f"{where}: quantization_config"
    if not isinstance(quantization, dict):
        raise CheckpointError(f"{where} is {shown(quantization)}, but an object was expected.")
    method = quantization.get("quant_method", QUANT_METHOD)
    if method != QUANT_METHOD:
        raise CheckpointError(f"{where} has the quant_method {shown(method)}; supported is {QUANT_METHOD}.")
    for name in ("transform_config", "sparsity_config"):
        changes = quantization.get(name)
        # Writers leave a sparsity_config where nothing is sparse; its format says so.
        if changes and not (isinstance(changes, dict) and changes.get("format") == DENSE):
            raise CheckpointError(f"{where} has a {name}, which is not supported: use a model without.")
    groups = quantization.get("config_groups")
    if not isinstance(groups, dict):
        raise CheckpointError(f"{where} has the config_groups {shown(groups)}, but an object was expected.")
    ignore = _names(quantization.get("ignore") or [], f"{where}.ignore")
    schemes: dict[str, WeightScheme] = {}
    for name, entry in groups.items():
        place = f"{where}.config_groups[{shown(name)}]"
        if not isinstance(entry, dict):
            raise CheckpointError(f"{place} is {shown(entry)}, but an object was expected.")
        if entry.get("weights") is None:
            continue  # of activations alone
        scheme = read_scheme(entry, quantization.get("format", ""), place)
        if scheme is None:
            continue
        for target in _names(entry.get("targets"), f"{place}.targets"):
            schemes.setdefault(target, scheme)
    return QuantizationConfig(schemes, tuple(ignore))


def _names(value: object, where: str) -> list[str]:
    """A list of names and expressions, each of which can be compiled."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise CheckpointError(f"{where} is {shown(value)}, but a list of names was expected.")
    for name in value:
        if name.startswith(REGULAR):
            try:
                re.compile(name.removeprefix(REGULAR))
            except re.error as error:
                raise CheckpointError(f"{where} has {shown(name)}, which is no regular expression: {error}.") from None
    return value

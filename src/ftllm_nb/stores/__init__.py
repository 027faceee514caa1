"""Models in GGUF that other tools keep on this machine, by the names that those tools give them.

A store is a file of this package that has `STORE`, an object of a subclass of `Store`. They are asked in the order of
their modules' names.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Callable

from ftllm_nb.errors import CheckpointError
from ftllm_nb.hub import is_model_name
from ftllm_nb.stores.store import Store, StoredModel

_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+){0,3}(:[\w./-]+)?")

_MOST_NAMED = 4
"""Models of other names that are told."""


@functools.cache
def stores() -> tuple[Store, ...]:
    """All that are known, in the order in which they are asked."""
    found: list[Store] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        store = getattr(importlib.import_module(f"{__name__}.{module.name}"), "STORE", None)
        if store is not None:
            found.append(store)
    return tuple(found)


def _others_of(name: str) -> str:
    """What stores call models that differ from this name by what comes after a colon; "" where none does."""
    stem = name.partition(":")[0].lower()
    found = [f"{store.title} has {model.name}" for store in stores() for model in store.models()
             if model.name.partition(":")[0].lower() == stem]  # fmt: skip
    return " and ".join(found[:_MOST_NAMED])


def stored_model(name: str, warn: Callable[[str], None]) -> StoredModel | None:
    """The model that a store calls so; None where none does. `warn` is told where the name means another one, too.

    Raises `CheckpointError` for a model that cannot be used, and for a name that only a store can have given.
    """
    if not _NAME.fullmatch(name):
        return None
    found = [model for store in stores() if (model := store.find(name)) is not None]
    if not found:
        if (near := _others_of(name)) and not is_model_name(name):
            raise CheckpointError(f"there is no file {name} here, and no model of that name: {near}.")
        if ":" in name and not is_model_name(name):
            looked = ", ".join(f"{store.title} ({' or '.join(map(str, store.folders()))})" for store in stores())
            raise CheckpointError(
                f"there is no file {name} here, and no model of that name in the stores of {looked}: "
                "`ftllm-nb list --local` lists what they hold."
            )
        return None
    model = next((each for each in found if not each.problem), found[0])
    if model.problem:
        raise CheckpointError(model.problem)
    if is_model_name(name):
        warn(f"{name} is {model.store}'s, {model.path}; with --revision main it is the one on the hub.")
    for other in found:
        if other is not model:
            warn(f"{other.store} has a model {name}, too: give its path, {other.path}, to take that.")
    return model

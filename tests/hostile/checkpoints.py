"""Model folders that are broken on purpose: builders by name, so that any layer's tests can walk them.

`HOSTILE[name].build(root)` makes one below the empty folder `root` and returns the path to hand to whatever
opens models. All but the broken place is right, `good_folder`'s, so that nothing else can be complained of.
"""

from __future__ import annotations

# Each of these files puts its builders into HOSTILE.
from tests.hostile import (  # noqa: F401
    configurations,
    foreign_folders,
    foreign_matrices,
    quantized_weights,
    safetensors_headers,
    weight_files,
)
from tests.hostile.spoiling import HOSTILE, Hostile, good_folder

__all__ = ["HOSTILE", "Hostile", "good_folder"]

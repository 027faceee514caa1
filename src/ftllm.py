"""ftllm-nb under the name of fastllm's package, so that programs written for fastllm run where it is not installed.

It is one file and no folder, so that it neither replaces nor hides fastllm's own: where both lie in one folder, Python
takes the folder `ftllm` before this file, and where this file comes first on the path, it steps aside. While a file
that --custom names is loaded, `ftllm` is ftllm-nb in any case.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec

import ftllm_nb

__version__ = ftllm_nb.__version__
__alias_of__ = "ftllm_nb"


def _fastllm() -> ModuleSpec | None:
    """Where fastllm's own package is, if it is installed: this file may lie at several places of the path."""
    for entry in sys.path:
        spec = PathFinder.find_spec("ftllm", [entry])
        if spec is not None and spec.origin is not None and spec.submodule_search_locations is not None:
            return spec
    return None


_found = _fastllm()
if _found is not None and _found.loader is not None:
    sys.modules[__name__] = module_from_spec(_found)
    _found.loader.exec_module(sys.modules[__name__])
else:
    from ftllm_nb import llm as llm

    sys.modules["ftllm.llm"] = llm

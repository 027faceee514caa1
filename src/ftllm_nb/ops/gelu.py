"""Gelu: the Gaussian error linear unit (Hendrycks and Gimpel, 2016), exact or in its tanh form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.forms import CombiningKernels, lower_combined
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.quant.activations import Int8Form, SplitForm

_EXACT = ("gelu", "gelu_python")
TANH_NAMES = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate")
"""The names that transformers has for the two forms."""


class Gelu(Operator):
    """input · Φ(input), with Φ the normal distribution; the config's hidden_activation, else its hidden_act, says in
    which form. `output` may be `input`."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT, forms=(Int8Form, SplitForm)))
    entries = ("hidden_activation", "hidden_act")

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        require_activation(input, "input")
        return input

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return tanh_gelu(input) if is_tanh_form(step.config) else exact_gelu(input)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.bf16_parts import gelu_split_kernel
        from ftllm_nb.kernels.elementwise import gelu, gelu_tanh
        from ftllm_nb.kernels.quantize import gelu_quantize, gelu_tanh_quantize

        source, tanh = node.inputs["input"], is_tanh_form(lowering.config)
        plain, int8 = (gelu_tanh, gelu_tanh_quantize) if tanh else (gelu, gelu_quantize)
        kernels = CombiningKernels(plain, int8, partial(gelu_split_kernel, tanh=tanh))
        lower_combined(node, lowering, kernels, source, source)


def exact_gelu(x: Array) -> Array:
    """x · Φ(x): double precision, rounded once."""
    return np.asarray(0.5 * x * np.vectorize(math.erfc, otypes=[float])(-x / math.sqrt(2)), np.float32)


def tanh_gelu(x: Array) -> Array:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³))): double precision, rounded once."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x.astype(np.float64) ** 3)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)), np.float32)


def is_tanh_form(config: Mapping[str, Any]) -> bool:
    """Whether the config names the tanh form; a config that names none means the exact one.

    Gemma's first configs say "gelu" and mean the tanh form, as transformers takes them. Raises `GraphError` for other
    activations.
    """
    named = config.get("hidden_activation")
    if named is None:
        if str(config.get("model_type", "")).startswith("gemma"):
            return True
        named = config.get("hidden_act") or "gelu"
    known = (*_EXACT, *TANH_NAMES)
    if named not in known:
        raise GraphError(
            f"the graph has a Gelu, but config.json's activation is {named!r}: assign one of {', '.join(known)} to "
            'config["hidden_act"] in build().'
        )
    return named in TANH_NAMES

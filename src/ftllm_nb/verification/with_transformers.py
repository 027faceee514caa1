"""The values of transformers' model of a folder, by hooks on its modules."""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.errors import CheckpointError, UsageError
from ftllm_nb.models import supported_architectures
from ftllm_nb.verification.tensor_names import modules_of_tensors

if TYPE_CHECKING:
    import torch

from ftllm_nb.verification.reference import Recording, Reference

INSTALL = (
    "transformers and torch are not installed: install ftllm-nb[verify], or compare with --against FILE.npz, which "
    "--save writes where they are, or with --against builtin"
)
_DULL = ("Dropout", "Identity", "RotaryEmbedding")
"""Modules whose values say nothing: part of their classes' names."""
_SMALL = 20_000_000
"""Parameters of a model that one thread is enough for."""
_ATTENTION = "eager_attention_forward"
_NUMBERS = {"scaling": "scale", "sliding_window": "window", "softcap": "softcap"}


def is_installed() -> bool:
    """Whether transformers and torch can be imported."""
    from importlib.util import find_spec

    return find_spec("torch") is not None and find_spec("transformers") is not None


def record(
    folder: Path, checkpoint: Checkpoint, texts: list[NDArray[np.int32]], prefill: int
) -> Reference:
    """Run transformers on the texts: the first `prefill` tokens at once, the others one by one."""
    if not is_installed():
        raise UsageError(f"{INSTALL}.")
    import torch
    import transformers

    model = _open(folder, knows_it=checkpoint.config.get("model_type") in supported_architectures())
    if sum(each.numel() for each in model.parameters()) < _SMALL:
        torch.set_num_threads(1)  # that threads wait for each other takes longer than such a model
    recorder = _Recorder(model)
    with warnings.catch_warnings(), torch.inference_mode(), recorder.listening():
        warnings.simplefilter("ignore", FutureWarning)  # of names that both old and new versions have
        recordings = [_read(model, recorder, text, prefill) for text in texts]
    parameters = {name: each for name, each in model.state_dict(keep_vars=True).items() if each.is_floating_point()}
    modules = modules_of_tensors(checkpoint, {name: partial(_as_array, each) for name, each in parameters.items()})
    head = model.get_output_embeddings()
    head_name = next((name for name, each in model.named_modules() if each is head), None)
    embedding = model.get_input_embeddings()
    if head is not None and embedding is not None and head_name and head.weight is embedding.weight:
        for found in modules.values():
            if any(model.get_submodule(name) is embedding for name in found):
                found.append(head_name)
    text_config = model.config.get_text_config()
    return Reference(
        name=f"transformers {transformers.__version__}'s {type(model).__name__}",
        modules=modules,
        leaves=recorder.leaves(),
        recordings=recordings,
        prefill=prefill,
        attention=recorder.attention_numbers,
        model={"vocab_size": int(recordings[0].logits.shape[-1]),
               "layers": int(getattr(text_config, "num_hidden_layers", 0)),
               **({"hidden_size": int(embedding.weight.shape[-1])} if embedding is not None else {})},
    )  # fmt: skip


def _as_array(parameter: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = parameter.detach().float().numpy()
    return array


def _open(folder: Path, knows_it: bool) -> Any:
    """transformers' model of a folder. `knows_it`: whether there is a built-in graph to compare with instead."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    arguments: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True}
    source = folder
    if folder.is_file():
        arguments["gguf_file"], source = folder.name, folder.parent
    try:
        for implementation in ({"attn_implementation": "eager"}, {}):
            try:
                model = transformers.AutoModelForCausalLM.from_pretrained(source, **arguments, **implementation)
                break
            except ValueError as error:
                if "attn_implementation" not in str(error) or not implementation:
                    raise
    except MemoryError:
        raise CheckpointError(f"the memory does not hold the float32 weights of {folder} in transformers.") from None
    except Exception as error:
        text = str(error).strip()
        reason = text.splitlines()[0].split(". ")[0].rstrip(".") if text else type(error).__name__
        instead = ", or with --against builtin" if knows_it else ""
        raise CheckpointError(
            f"transformers {transformers.__version__} cannot open {folder}: {reason[:300]}; compare with --against "
            f"FOLDER, a folder of the same weights that it knows{instead}."
        ) from error
    return model.eval()


def _read(model: Any, recorder: _Recorder, text: NDArray[np.int32], prefill: int) -> Recording:
    import torch

    recorder.begin()
    ids = torch.from_numpy(text.astype(np.int64))[None]
    limit = getattr(model.config.get_text_config(), "vocab_size", None)
    if limit is not None and int(ids.max()) >= limit:
        raise UsageError(
            f"the reference has another vocabulary, of {limit} tokens, and the prompt has the token {int(ids.max())}: "
            "name the folder of the same model."
        )
    if forgets_limits(model.config):
        prefill = len(text)
    recorder.step(prefill)
    try:
        answer = model(ids[:, :prefill], use_cache=True)
        rows = [answer.logits[0].float().numpy()]
        for position in range(prefill, len(text)):
            recorder.step(1)
            answer = model(ids[:, position : position + 1], **continuing(model, answer, position), use_cache=True)
            rows.append(answer.logits[0].float().numpy())
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0][:300].rstrip(".")
        raise CheckpointError(f"transformers' model fails on the prompt: {reason}.") from error
    return Recording(text, np.concatenate(rows), recorder.values())


class _Recorder:
    """Hears what enters and leaves each module."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._pieces: dict[str, list[NDArray[np.float32]]] = {}
        self._tokens = 1
        self._calls: dict[str, int] = {}
        self._entered: dict[str, None] = {}
        self._attention_calls = 0
        self.attention_numbers: list[dict[str, float]] = []

    def begin(self) -> None:
        """A new text."""
        self._pieces = {}

    def step(self, tokens: int) -> None:
        """A step of so many tokens begins."""
        self._tokens, self._attention_calls, self._calls = tokens, 0, {}

    def values(self) -> dict[str, NDArray[np.float32]]:
        """Of the text, what all its steps have."""
        whole = {}
        for place, pieces in self._pieces.items():
            sizes = {piece.shape[1] for piece in pieces}
            tokens = sum(len(piece) for piece in pieces)
            if len(sizes) == 1 and tokens == max(sum(map(len, each)) for each in self._pieces.values()):
                whole[place] = np.concatenate(pieces)
        return whole

    def leaves(self) -> list[str]:
        """Modules with weights and none below them that has any, in the order in which they were entered."""
        return [name for name in self._entered if self._is_leaf(self._model.get_submodule(name))]

    def _is_leaf(self, module: torch.nn.Module) -> bool:
        below = any(next(each.parameters(), None) is not None for each in module.children())
        return next(module.parameters(), None) is not None and not below

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hooks on every module, and on attention where it is a function of the model's file."""
        hooks = []
        for name, module in self._model.named_modules():
            if name and not any(dull in type(module).__name__ for dull in _DULL):
                hooks.append(module.register_forward_pre_hook(self._entering(name), with_kwargs=True))
                hooks.append(module.register_forward_hook(self._leaving(name)))
        files = {type(module).__module__ for module in self._model.modules()}
        replaced = []
        for file in files:
            module_file = sys.modules.get(file)
            function = getattr(module_file, _ATTENTION, None)
            if function is not None:
                replaced.append((module_file, function))
                setattr(module_file, _ATTENTION, self._attending(function))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for module_file, function in replaced:
                setattr(module_file, _ATTENTION, function)

    def _entering(self, name: str) -> Callable[..., None]:
        def hook(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            self._entered.setdefault(name)
            tensors = [each for each in positional if _is_tensor(each)]
            if not tensors:
                tensors = [each for key, each in named.items() if _is_tensor(each) and "mask" not in key][:1]
            self._calls[name] = self._calls.get(name, -1) + 1
            for number, tensor in enumerate(tensors[:3]):
                self._note(self._place(name, "in", number), tensor)

        return hook

    def _leaving(self, name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            given = output if isinstance(output, (tuple, list)) else (output,)
            for number, tensor in enumerate([each for each in given if _is_tensor(each)][:3]):
                self._note(self._place(name, "out", number), tensor)

        return hook

    def _place(self, name: str, role: str, number: int) -> str:
        again = self._calls.get(name, 0)
        return f"{name}{f'#{again}' if again else ''}>{role}{number or ''}"

    def _attending(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def attend(module: Any, query: Any, key: Any, value: Any, *others: Any, **named: Any) -> Any:
            number = self._attention_calls
            self._attention_calls += 1
            if number == len(self.attention_numbers):
                self.attention_numbers.append({
                    ours: float(named[theirs]) for theirs, ours in _NUMBERS.items()
                    if isinstance(named.get(theirs), (int, float))
                })  # fmt: skip
            for name, heads in (("q", query), ("k", key), ("v", value)):
                self._note(f"attention.{number}>{name}", heads[:, :, -self._tokens :].transpose(1, 2))
            result = function(module, query, key, value, *others, **named)
            self._note(f"attention.{number}>out", result[0])
            return result

        return attend

    def _note(self, place: str, tensor: Any) -> None:
        """Of each token its features; tensors of another kind are passed over."""
        tokens, shape = self._tokens, tuple(tensor.shape)
        if tensor.numel() % tokens or not (tensor.is_floating_point() or tensor.numel() <= 64 * tokens):
            return
        if len(shape) == 4 and shape[1] != tokens and shape[2] == tokens:
            tensor = tensor.transpose(1, 2)
        elif tokens not in shape[:2]:
            return
        array = tensor.detach().float().reshape(tokens, -1).numpy().copy()
        self._pieces.setdefault(place, []).append(array)


def _is_tensor(each: Any) -> bool:
    import torch

    return isinstance(each, torch.Tensor)


def continuing(model: Any, answer: Any, position: int) -> dict[str, Any]:
    """What a model is given beside the token at a position, which goes on from an answer. Bamba would begin at position
    0 again, and Mamba-2 with no state, if they were not told."""
    import torch

    known = inspect.signature(model.forward).parameters
    name = "cache" if "cache" in known else "past_key_values"
    given = {name: getattr(answer, name)}
    return given | {"position_ids": torch.tensor([[position]])} if "position_ids" in known else given


def forgets_limits(config: Any) -> bool:
    """Whether Mamba-2's time steps have limits, which transformers knows in prompts alone: a text is read at once."""
    limits = tuple(getattr(config, "time_step_limit", None) or (0, math.inf))
    return limits != (0, math.inf) or config.model_type in ("nemotron_h", "zamba2")

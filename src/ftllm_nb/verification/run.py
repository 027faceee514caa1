"""`verify`: compare a model's graph with a reference, find where they part, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from ftllm_nb import loading
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.engine.evaluation import Evaluation, evaluate, evaluate_in_steps
from ftllm_nb.engine.float_weights import FloatWeights
from ftllm_nb.engine_options import Warn, engines, require_one_of
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.graph.unread_tensors import unread_warning
from ftllm_nb.host_cores import require_threads
from ftllm_nb.models import supported_architectures
from ftllm_nb.verification import values_file, with_transformers
from ftllm_nb.verification.causes import causes
from ftllm_nb.verification.kernel_fault import kernel_fault
from ftllm_nb.verification.pairing import LOGITS, pair
from ftllm_nb.verification.parting import differences, find_parting
from ftllm_nb.verification.reference import Reference, distance
from ftllm_nb.verification.texts import prefill_of, texts_of
from ftllm_nb.verification.trial import Change, Ground, now
from ftllm_nb.verification.verdict import Cause, StepFault, Verdict
from ftllm_nb.verification.with_graph import layers_in, record_graph, sizes_of

TRANSFORMERS, BUILTIN = "transformers", "builtin"
_LONGER = 2.0
"""Seconds in which a cause is looked for that mends more than the one that was found."""
Progress = Callable[[str, int, int], None]


@dataclass
class _Opened:
    """The model: its checkpoint, its graph as built and as checked."""

    checkpoint: Checkpoint
    built: ComputeGraph
    graph: CheckedGraph
    weights: FloatWeights

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the checkpoint's tensors."""
        return {name: tuple(each.shape) for name, each in self.checkpoint.tensors.items()}


def verify(
    model: str | PathLike[str] | None = None,
    *,
    custom: loading.GraphSource | None = None,
    against: str | PathLike[str] | Reference | None = None,
    prompts: Sequence[str] = (),
    save: str | PathLike[str] | None = None,
    engine: str = "reference",
    threads: int = 1,
    seconds: float = 8.0,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Verdict:
    """Compare a model's graph, in float32, with a reference; a test may `assert verify(…).agrees`.

    `model`, `custom`: as `--path` and `--custom` take them. `against`: "transformers", the default where it is
    installed; a folder that transformers opens; an .npz file that `save` wrote; "builtin", the architecture's own
    graph; or what `reference_of` returned, which serves several comparisons. `engine`: "compiled" compares the kernels'
    logits, too. `seconds`: how long causes are tried. Raises subclasses of `FtllmError` for what cannot be compared.
    """
    require_one_of("engine", engine, engines())
    require_threads(threads)
    _require_path("save", save)
    warn = warn or loading.warn_on_stderr
    progress = progress or (lambda what, done, total: None)
    if save is not None:
        values_file.require_free(Path(fspath(save)))
    folder, _ = loading.located_model(model, revision, cache_dir, warn)
    with ExitStack() as closing:
        checkpoint = closing.enter_context(open_checkpoint(folder))
        opened = _open(checkpoint, custom)
        for note in opened.graph.notes:
            warn(note)
        progress("reference", 0, 1)
        reference = against if isinstance(against, Reference) else _reference(opened, custom, against, prompts, warn)
        progress("reference", 1, 1)
        _require_same_model(opened, reference)
        if save is not None:
            values_file.save(reference, Path(fspath(save)))
        return _compare(opened, reference, engine, threads, seconds, progress)


def reference_of(
    model: str | PathLike[str] | None = None,
    *,
    custom: loading.GraphSource | None = None,
    against: str | PathLike[str] | None = None,
    prompts: Sequence[str] = (),
    warn: Warn | None = None,
) -> Reference:
    """What `verify` would compare this model with. `custom` is needed where no architecture is known."""
    warn = warn or loading.warn_on_stderr
    folder, _ = loading.located_model(model, warn=warn)
    with open_checkpoint(folder) as checkpoint:
        return _reference(_open(checkpoint, custom), custom, against, prompts, warn)


def _open(checkpoint: Checkpoint, custom: loading.GraphSource | None) -> _Opened:
    built = build_graph(
        loading.described_by(checkpoint.config, custom, None),
        checkpoint.config,
        checkpoint.tokenizer_config,
        checkpoint.generation_config,
        checkpoint.tensors,
    )
    return _Opened(checkpoint, built, check_graph(built, checkpoint.tensors), FloatWeights(checkpoint))


def _reference(
    opened: _Opened,
    custom: loading.GraphSource | None,
    against: str | PathLike[str] | None,
    prompts: Sequence[str],
    warn: Warn,
) -> Reference:
    """What the graph is compared with."""
    prompts = [prompts] if isinstance(prompts, str) else prompts or ()  # not its letters
    if not isinstance(prompts, (list, tuple)) or not all(isinstance(each, str) for each in prompts):
        raise UsageError(f"prompts must be a list of texts, not {prompts!r}.")
    _require_path("against", against)
    name = None if against is None else fspath(against)
    if name == "":
        raise UsageError("the name after --against is empty: write transformers, builtin, a folder or an .npz file.")
    if name is not None and name.endswith(".npz"):
        if prompts:
            raise UsageError(f"{name} has the values of texts of its own: leave --prompt out.")
        return values_file.load(Path(name))
    if name is None and not with_transformers.is_installed():
        if custom is None:
            raise UsageError(f"{with_transformers.INSTALL}, where --custom describes the model.")
        if not _is_known(opened.checkpoint):
            raise UsageError(f"{with_transformers.INSTALL}, where an architecture here is the model's.")
        warn("transformers and torch are not installed: the graph is compared with the built-in one.")
        name = BUILTIN
    texts = texts_of(opened.checkpoint, opened.graph, prompts, None, warn)
    prefill = prefill_of(texts)
    if name == BUILTIN:
        if custom is None:
            raise UsageError("the built-in graph is what is compared: give another one by --custom FILE.")
        if not _is_known(opened.checkpoint):
            raise UsageError(
                f"no architecture here has the model_type {opened.checkpoint.config.get('model_type')!r}: --against "
                "builtin has nothing to compare with; give a folder that transformers knows, or an .npz file."
            )
        own = _open(opened.checkpoint, None)
        return record_graph(own.graph, opened.weights, opened.shapes, texts, prefill)
    folder = opened.checkpoint.path if name in (None, TRANSFORMERS) else Path(str(name))
    if not folder.exists():
        raise UsageError(
            f"there is no {folder}: --against takes transformers, builtin, a folder or a file that ends with .npz."
        )
    reference = with_transformers.record(folder, opened.checkpoint, texts, prefill)
    if folder == opened.checkpoint.path:  # of another one it is for transformers to know
        reference.model.update(shapes=sizes_of(opened.graph, opened.shapes)["shapes"])
    return reference


def _require_path(name: str, path: object) -> None:
    """Raise `UsageError` for an argument that is no path."""
    if not isinstance(path, (str, PathLike, type(None))):
        known = ", transformers, builtin, or what reference_of returned" if name == "against" else ""
        raise UsageError(f"{name} must be the path of a file{' or folder' * bool(known)}{known}, not {path!r}.")


def _is_known(checkpoint: Checkpoint) -> bool:
    """Whether an architecture here is the model's."""
    return checkpoint.config.get("model_type") in supported_architectures()


def _require_same_model(opened: _Opened, reference: Reference) -> None:
    """Raise `UsageError` where the reference is of a model with other sizes."""
    theirs, name = reference.model, reference.name
    if theirs.get("vocab_size") != opened.graph.vocab_size:
        raise UsageError(
            f"{name} has a vocabulary of {theirs.get('vocab_size')} tokens, and this model one of "
            f"{opened.graph.vocab_size}: they are not the same model."
        )
    layers = layers_in(opened.checkpoint.tensors)
    if theirs.get("layers") and layers and theirs["layers"] != layers:
        raise UsageError(f"{name} has {theirs['layers']} layers, and this model {layers}: they are not the same model.")
    sizes = sizes_of(opened.graph, opened.shapes)
    ours, hidden = sizes.get("hidden_size"), theirs.get("hidden_size")
    if ours and hidden and ours != hidden:
        raise UsageError(
            f"{name} has embeddings of {hidden} features, and this model of {ours}: they are not the same model."
        )
    for tensor, shape in theirs.get("shapes", {}).items():
        if tensor in sizes["shapes"] and _without_ones(shape) != _without_ones(sizes["shapes"][tensor]):
            raise UsageError(
                f"{name} read a {tensor} of {shape}, and this model's is {sizes['shapes'][tensor]}: they are "
                "not the same model."
            )
    longest = max(len(each.token_ids) for each in reference.recordings)
    if longest > opened.graph.max_positions:
        raise UsageError(
            f"the reference read {longest} tokens, and this model's context holds {opened.graph.max_positions}."
        )


def _without_ones(shape: Sequence[int]) -> list[int]:
    """Convolutions of each channel alone are stored with such an axis or without it."""
    return [size for size in shape if size != 1]


def _compare(
    opened: _Opened, reference: Reference, engine: str, threads: int, seconds: float, progress: Progress
) -> Verdict:
    graph, weights = opened.graph, opened.weights
    sites = pair(graph, reference, opened.shapes)
    evaluations = []
    for number, recording in enumerate(reference.recordings):
        progress("compare", number, len(reference.recordings))
        evaluations.append(evaluate(graph, weights, recording.token_ids))
    found = differences(sites, evaluations, reference.recordings)
    common = {
        "reference": reference.name, "texts": len(evaluations), "places": len(found),
        "tokens": sum(len(each.token_ids) for each in evaluations), "logits": found[LOGITS],
    }  # fmt: skip
    parting = find_parting(sites, evaluations, reference)
    if parting is None:
        return Verdict(**common, step_fault=_step_fault(opened, reference, evaluations[0], engine, threads))  # type: ignore[arg-type]
    ground = Ground(
        opened.built, graph, dict(opened.checkpoint.tensors), weights, evaluations, reference, parting,
        now() + seconds,
    )  # fmt: skip
    left_out = tuple(unread_warning(graph.unread_tensors))
    return Verdict(**common, parting=parting, cause=_cause(ground, progress), left_out=left_out)  # type: ignore[arg-type]


def _cause(ground: Ground, progress: Progress) -> Cause | None:
    """The first change with which the logits agree as well; else the first with which the place does, after which
    others are looked for only a little longer."""
    first: Cause | None = None
    for change in _changes(ground):
        progress("try causes", ground.tried % 100, 100)
        if not ground.works(change):
            continue
        logits = None if change.is_proven else ground.logits_difference(change)
        found = Cause(change.sentence, change.call, logits)
        if logits is not None and logits <= ground.reference.tolerance:
            return found
        if first is None:
            first = found
            ground.deadline = min(ground.deadline, now() + _LONGER)
    return first


def _changes(ground: Ground) -> Iterator[Change]:
    """Of the operators that are most likely to blame, then of those as well that make what belongs elsewhere."""
    for widely in (False, True):
        ground.widely = widely
        if widely and ground.parting.more_suspects == ground.parting.suspects:
            return
        for module in causes():
            yield from module.changes(ground)


def _step_fault(
    opened: _Opened, reference: Reference, at_once: Evaluation, engine: str, threads: int
) -> StepFault | None:
    """Whether the same tokens in steps give the same, and the kernels what NumPy gives."""
    graph, tokens = opened.graph, at_once.token_ids
    lengths = [min(reference.prefill, len(tokens)), *(1 for _ in tokens[reference.prefill :])]
    in_steps = evaluate_in_steps(graph, opened.weights, tokens, lengths)
    if distance(in_steps.logits, at_once.logits) > reference.tolerance:
        for node in graph.nodes:
            for value in node.outputs.values():
                ours, whole = in_steps.arrays[value], at_once.arrays[value]
                if ours.shape == whole.shape and distance(ours, whole) > reference.noise:
                    return StepFault(
                        f"at once they are equal; with tokens one by one {node.operator.name} (operator "
                        f"{node.call.index}) at {node.call.where} writes other values: look at what it keeps.",
                        node.call,
                    )
    if engine != "compiled":
        return None
    return kernel_fault(opened.checkpoint, at_once, lengths, threads, reference.tolerance)

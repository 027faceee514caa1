"""A whole benchmark: open a model, real or random, measure the machine, the model, and the machine again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftllm_nb.benchmark.cpu_name import cpu_name
from ftllm_nb.benchmark.limits import measure_limits
from ftllm_nb.benchmark.profile import profile_test
from ftllm_nb.benchmark.report import ProfileReport, Report
from ftllm_nb.benchmark.speed_test import SpeedTest, require_context, run_speed_tests
from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.checkpoint import Checkpoint, RandomCheckpoint, open_checkpoint
from ftllm_nb.checkpoint.config import read_json_object
from ftllm_nb.checkpoint.files import file_mode
from ftllm_nb.checkpoint.gguf.locate import gguf_at
from ftllm_nb.checkpoint.recognise import require_config_folder
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.engine_thread import EngineThread
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.graph.types import FLOAT_TYPES
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.loading import (
    DEFAULTS,
    DEMO,
    chosen_weight_types,
    describe,
    described_by,
    model_folder,
    open_executor,
    warn_of_types,
)


@dataclass(frozen=True)
class Settings:
    """What to measure.

    `path`: the model, None for the bundled one; `revision` and `cache_dir`: of one on the hub. `random`: its weights
    are random, and only its config.json is read, or the file `random_config`, if that is not None; `layers`: of such a
    model only so many.
    """

    path: str | None = None
    revision: str | None = None
    cache_dir: str | None = None
    random_config: str | None = None
    random: bool = False
    layers: int | None = None
    custom: str | None = None
    options: EngineOptions = DEFAULTS
    prompt_tokens: list[int] | tuple[int, ...] = (512,)
    generated_tokens: list[int] | tuple[int, ...] = (64,)
    repetitions: int = 5
    batch: int = 1
    depth: int = 0


@dataclass(frozen=True)
class OpenedModel:
    """A model to be measured, without a tokenizer. `threads`: how many workers there are."""

    graph: CheckedGraph
    weight_types: WeightTypes
    executor: Executor
    threads: int


def opened_model(
    checkpoint: Checkpoint, settings: Settings, progress: Callable[[str, int, int], None], warn: Callable[[str], None]
) -> OpenedModel:
    """The checkpoint's model with its weights in memory, as the settings want it."""
    options = settings.options
    threads = options.check(warn)
    weight_types = chosen_weight_types(options)
    graph = describe(checkpoint, settings.custom)
    warn_of_types(weight_types, options.state_dtype, graph, warn)
    executor = open_executor(
        graph,
        checkpoint,
        weight_types,
        kv_cache_dtype=options.kv_cache_dtype,
        state_dtype=options.state_dtype,
        threads=threads,
        pin=options.pin,
        engine=options.engine,
        progress=progress,
    )
    return OpenedModel(graph, weight_types, executor, threads)


def run_benchmark(
    settings: Settings, *, progress: Callable[[str, int, int], None], warn: Callable[[str], None]
) -> Report:
    """Measure; raises subclasses of `FtllmError`. No tokenizer is read."""
    with open_weights(settings) as checkpoint:
        opened = opened_model(checkpoint, settings, progress, warn)
        size = size_of(opened.graph, opened.weight_types)
        tests = speed_tests(settings)
        with closing(EngineThread(opened.executor)) as engine:
            require_context(tests, opened.executor.max_positions)
            before = measure_limits(opened.threads, size.weight_bytes)
            run_speed_tests(engine, tests, settings.repetitions, progress=progress)
            after = measure_limits(opened.threads, size.weight_bytes)
        return Report(
            cpu=cpu_name(),
            tier=current_tier().name,
            model=model_name(settings),
            size=size,
            max_step_tokens=opened.executor.max_step_tokens,
            before=before,
            after=after,
            tests=tests,
        )


def run_profile(
    settings: Settings, *, progress: Callable[[str, int, int], None], warn: Callable[[str], None]
) -> ProfileReport:
    """Profile a step of each test; raises subclasses of `FtllmError`."""
    if settings.options.engine != "compiled":
        raise UsageError(f"--profile looks into the compiled engine, not into --engine {settings.options.engine}.")
    with open_weights(settings) as checkpoint:
        opened = opened_model(checkpoint, settings, progress, warn)
        executor, format_of = opened.executor, opened.weight_types.formats(opened.graph)
        assert isinstance(executor, CompiledExecutor)
        with closing(executor):
            tests = speed_tests(settings)
            require_context(tests, executor.max_positions)
            size = size_of(opened.graph, opened.weight_types)
            limits = measure_limits(opened.threads, size.weight_bytes)
            profiles = [profile_test(executor, test, format_of, limits) for test in tests]
    return ProfileReport(cpu_name(), current_tier().name, model_name(settings), size, limits, profiles)


def open_weights(settings: Settings) -> Checkpoint:
    """The model's checkpoint, or random weights of its configuration."""
    if not settings.random:
        return open_checkpoint(model_folder(settings.path, settings.revision, settings.cache_dir))
    config = random_config(settings)
    graph = build_graph(described_by(config, settings.custom, None), config)
    shapes = graph.weight_shapes()
    if not shapes:
        raise UsageError(
            f"{settings.custom}: random weights need to know the tensors of the checkpoint: give the class a "
            "method weight_shapes(self) that returns their names and shapes."
        )
    return RandomCheckpoint(config, shapes, stored_dtype(settings.options.dtype, config))


def random_config(settings: Settings) -> dict[str, Any]:
    """The configuration of the model that is to have random weights."""
    config = _whole_config(settings)
    return config if settings.layers is None else with_layers(config, settings.layers)


def _whole_config(settings: Settings) -> dict[str, Any]:
    if settings.random_config is not None:
        file = Path(settings.random_config)
        if file_mode(file) is None:
            raise UsageError(f'there is no file "{file}"; --config takes the config.json of a model.')
        return read_json_object(file)
    folder = model_folder(settings.path, settings.revision, settings.cache_dir)
    if gguf_at(folder) is not None:
        with open_checkpoint(folder) as checkpoint:
            return checkpoint.config
    require_config_folder(folder)
    return read_json_object(folder / "config.json")


def with_layers(config: dict[str, Any], count: int) -> dict[str, Any]:
    """The configuration with only the first `count` layers; entries that list one for each are cut. Raises
    `UsageError` where it has fewer."""
    if isinstance(config.get("text_config"), dict):
        return {**config, "text_config": with_layers(config["text_config"], count)}
    layers = config.get("num_hidden_layers")
    if not isinstance(layers, int) or layers < count:
        raise UsageError(f"--layers {count} is more than the model's {layers} layers (num_hidden_layers).")
    cut = {name: each[:count] for name, each in config.items() if isinstance(each, list) and len(each) == layers}
    return {**config, **cut, "num_hidden_layers": count}


def stored_dtype(dtype: str, config: dict[str, Any]) -> str:
    """The type of random weights: what they are kept as, if a checkpoint can hold that, else the config's."""
    text = config.get("text_config")
    places = (config, text if isinstance(text, dict) else {})
    declared = next((each[entry] for each in places for entry in ("dtype", "torch_dtype") if each.get(entry)), None)
    return next((name for name in (dtype, declared) if name in FLOAT_TYPES), "bfloat16")


def speed_tests(settings: Settings) -> list[SpeedTest]:
    """The prompts, then the generations; counts of 0 are left out."""
    depth = settings.depth
    prompts = [SpeedTest(False, count, depth=depth) for count in settings.prompt_tokens if count]
    generations = [SpeedTest(True, count, settings.batch, depth) for count in settings.generated_tokens if count]
    return prompts + generations


def model_name(settings: Settings) -> str:
    """What the model is called in reports: its file's or folder's name."""
    if settings.random_config is not None:
        return Path(settings.random_config).stem
    return Path(settings.path or DEMO).resolve().name

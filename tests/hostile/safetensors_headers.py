"""Hostile checkpoints: what a safetensors file says of itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.hostile.spoiling import WEIGHTS, entry, good_weights, hostile, safetensors_bytes, with_weights


@hostile(WEIGHTS, "too short")
def seven_bytes(root: Path) -> Path:
    return with_weights(root, good_weights()[:7])


@hostile(WEIGHTS, "truncated")
def truncated_in_the_header(root: Path) -> Path:
    return with_weights(root, good_weights()[:50])


@hostile(WEIGHTS, "truncated")
def truncated_in_the_data(root: Path) -> Path:
    return with_weights(root, good_weights()[:-4])


@hostile(WEIGHTS, "after its last tensor")
def more_data_than_tensors(root: Path) -> Path:
    return with_weights(root, good_weights() + bytes(4))


@hostile(WEIGHTS, "100,000,000,000")
def header_of_100_gigabytes_claimed(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({}, b"", header_size=100_000_000_000))


@hostile(WEIGHTS, "150,000,000")
def header_of_150_megabytes_that_is_there(root: Path) -> Path:
    folder = with_weights(root, safetensors_bytes({}, b"", header_size=150_000_000))
    os.truncate(folder / WEIGHTS, 150_000_008)
    return folder


@hostile(WEIGHTS, "truncated")
def header_length_lies_by_much(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([2], 0, 8)}, bytes(8), header_size=5000))


@hostile(WEIGHTS, "not valid JSON")
def header_length_lies_by_little(root: Path) -> Path:
    header = {"a": entry([2], 0, 8)}
    return with_weights(root, safetensors_bytes(header, bytes(8), header_size=len(json.dumps(header)) - 1))


@hostile(WEIGHTS, "not valid JSON")
def header_of_no_bytes(root: Path) -> Path:
    return with_weights(root, safetensors_bytes(b"", b""))


@hostile(WEIGHTS, "not valid JSON")
def header_not_json(root: Path) -> Path:
    return with_weights(root, safetensors_bytes(b"{this is not JSON}", b""))


@hostile(WEIGHTS, "not valid JSON")
def header_not_utf8(root: Path) -> Path:
    return with_weights(root, safetensors_bytes(b'{"\xff": 1}', b""))


@hostile(WEIGHTS, "not valid JSON")
def header_bomb(root: Path) -> Path:
    return with_weights(root, safetensors_bytes(b"[" * 200_000, b""))


@hostile(WEIGHTS, "no object of tensors")
def header_bomb_in_a_shape(root: Path) -> Path:
    text = json.dumps({"a": entry("BOMB", 0, 8)}).replace('"BOMB"', "[" * 300 + "]" * 300)
    return with_weights(root, safetensors_bytes(text.encode(), bytes(8)))


@hostile(WEIGHTS, "no object of tensors")
def header_is_a_list(root: Path) -> Path:
    return with_weights(root, safetensors_bytes([], b""))


@hostile(WEIGHTS, "no tensors")
def header_without_tensors(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"__metadata__": {"format": "pt"}}, b""))


@hostile(WEIGHTS, "__metadata__")
def metadata_is_a_number(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"__metadata__": 3, "a": entry([2], 0, 8)}, bytes(8)))


@hostile(WEIGHTS, "'a' twice")
def duplicate_names(root: Path) -> Path:
    text = '{"a": %s, "a": %s}' % ((json.dumps(entry([2], 0, 8)),) * 2)
    return with_weights(root, safetensors_bytes(text.encode(), bytes(8)))


@hostile(WEIGHTS, "'dtype' twice")
def duplicate_fields(root: Path) -> Path:
    text = b'{"a": {"dtype": "F32", "dtype": "F16", "shape": [2], "data_offsets": [0, 8]}}'
    return with_weights(root, safetensors_bytes(text, bytes(8)))


@hostile(WEIGHTS, "no JSON object")
def tensor_is_a_string(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": "F32"}, b""))


@hostile(WEIGHTS, "unprintable")
def tensor_named_in_control_characters(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"\x1b[2Ja\ud800": entry([2], 0, 8)}, bytes(8)))


@hostile(WEIGHTS, "unknown type 'F31'")
def dtype_unknown(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([2], 0, 8, "F31")}, bytes(8)))


@hostile(WEIGHTS, "unknown type null")
def dtype_missing(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)))


@hostile(WEIGHTS, "unknown type [\"F32\"]")
def dtype_is_a_list(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([2], 0, 8, ["F32"])}, bytes(8)))


@hostile(WEIGHTS, "needs 12 bytes")
def shape_contradicts_the_bytes(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([3], 0, 8)}, bytes(8)))


@hostile(WEIGHTS, "shape [-1, -2]")
def shape_negative(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([-1, -2], 0, 8)}, bytes(8)))


@hostile(WEIGHTS, "larger than any memory")
def shape_overflows_64_bits(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([2**32, 2**32], 0, 0)}, b""))


@hostile(WEIGHTS, "larger than any memory")
def shape_huge_beside_a_zero(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([0, 2**62], 0, 0)}, b""))


@hostile(WEIGHTS, "shape")
def shape_of_a_number_beyond_64_bits(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([10**300, 0], 0, 0)}, b""))


@hostile(WEIGHTS, "shape")
def shape_of_fractions(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([2.0], 0, 8)}, bytes(8)))


@hostile(WEIGHTS, "at most 32")
def shape_of_a_thousand_dimensions(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([1] * 1000, 0, 4)}, bytes(4)))


@hostile(WEIGHTS, "overlaps")
def tensors_overlap(root: Path) -> Path:
    header = {"a": entry([4], 0, 16), "b": entry([4], 8, 24)}
    return with_weights(root, safetensors_bytes(header, bytes(24)))


@hostile(WEIGHTS, "overlaps")
def tensors_share_their_bytes(root: Path) -> Path:
    header = {"a": entry([4], 0, 16), "b": entry([4], 0, 16)}
    return with_weights(root, safetensors_bytes(header, bytes(16)))


@hostile(WEIGHTS, "nothing describes")
def gap_between_tensors(root: Path) -> Path:
    header = {"a": entry([4], 0, 16), "b": entry([4], 20, 36)}
    return with_weights(root, safetensors_bytes(header, bytes(36)))


@hostile(WEIGHTS, "data_offsets")
def offsets_reversed(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([2], 8, 0)}, bytes(8)))


@hostile(WEIGHTS, "data_offsets")
def offsets_negative(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([2], -8, 0)}, bytes(8)))


@hostile(WEIGHTS, "data_offsets")
def offsets_of_booleans(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([1], False, True, "U8")}, bytes(1)))


@hostile(WEIGHTS, "data_offsets")
def offsets_of_three_numbers(root: Path) -> Path:
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 16]}}
    return with_weights(root, safetensors_bytes(header, bytes(8)))


@hostile(WEIGHTS, "truncated")
def offsets_beyond_the_file(root: Path) -> Path:
    return with_weights(root, safetensors_bytes({"a": entry([2**40], 0, 2**42)}, bytes(8)))

"""bench/off_grid.py: numbers leave the grid of a quantized file, and stay in their cells."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import ftllm_nb

BENCH = Path(__file__).parents[2] / "bench"
DEMO = Path(ftllm_nb.__file__).parent / "demo"


def test_each_number_stays_in_its_cell_and_all_leave_the_grid(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    steps = random.uniform(0.5, 2, (64, 4, 1)).astype(np.float32)
    numbers = random.integers(0, 16, (64, 4, 32)).astype(np.float32)
    matrix = (numbers * steps - 7 * steps).reshape(64, 128)
    matrix[5] = 3.0  # no step can be seen
    model, out = tmp_path / "model", tmp_path / "out"
    model.mkdir()
    shutil.copy(DEMO / "config.json", model)
    save_file({"a": matrix, "norm": matrix[0]}, model / "model.safetensors")
    subprocess.run([sys.executable, BENCH / "off_grid.py", model, out], check=True)
    made = load_file(out / "model.safetensors")
    np.testing.assert_array_equal(made["norm"], matrix[0])
    np.testing.assert_array_equal(made["a"][5], matrix[5])
    off = np.delete((made["a"] - matrix).reshape(steps.shape[0], 4, 32) / steps, 5, axis=0)
    assert np.abs(off).max() <= 0.5 + 1e-3
    assert abs(off.std() - 12**-0.5) < 0.02 and abs(off.mean()) < 0.02
    assert (out / "config.json").read_bytes() == (DEMO / "config.json").read_bytes()

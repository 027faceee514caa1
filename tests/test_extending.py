"""docs/extending.md: its operators give the same on both engines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ftllm_nb.graph.compute_graph import ComputeGraph
from tests.engine.two_engines import assert_alike
from tests.graph.small_graphs import TENSORS, begin, end, project
from tests.memory_checkpoint import normal

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
ARRAYS = {name: normal(number, *header.shape, scale=0.3) for number, (name, header) in enumerate(TENSORS.items())}


def test_the_operators_of_the_page_run(tmp_path: Path) -> None:
    operators: dict[str, Any] = {}
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)):
        file = tmp_path / f"block{number}.py"
        file.write_text(block, encoding="utf-8")
        scope: dict[str, Any] = {"__name__": f"page{number}", "__file__": str(file)}
        exec(compile(block, str(file), "exec"), scope)
        operators |= {name: scope[name] for name in ("Clip", "MeanAttention", "Mixed", "Norm") if name in scope}

    def build(self: ComputeGraph) -> None:
        data = self.data
        begin(self)
        self.Norm(data["x"], self.weight["norm.weight"], 1e-6, data["x"])
        self.Clip(data["x"], 0.5, data["x"])
        self.Mixed(data["x"], data["pastState."][3], data["x"])
        for name in "kv":
            project(self, name)
        self.MeanAttention(data["pastKey."][0], data["pastValue."][0], data["k"], data["v"], data["mean"])
        self.Flatten(data["mean"])
        self.Repeat(data["mean"], 2, 3, data["y"])
        self.AddTo(data["x"], data["y"])
        end(self)

    assert len(operators) == 4
    assert_alike(build, ARRAYS, {"vocab_size": 50}, tuple(operators.values()))

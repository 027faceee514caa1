"""What is in the pictures of `perplexity` and `bench --profile`: names, units, ticks, and nothing cut off."""

from __future__ import annotations

import builtins
import itertools
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pytest

from ftllm_nb.benchmark.fidelity import Fidelity, Score
from ftllm_nb.benchmark.perplexity import Result, Row
from ftllm_nb.benchmark.perplexity_picture import draw_fidelity, spread
from ftllm_nb.benchmark.picture import LONGEST_NAME, short_name
from ftllm_nb.benchmark.profile import Profile, Share
from ftllm_nb.benchmark.profile_picture import draw_profiles
from ftllm_nb.cli import main
from ftllm_nb.errors import UsageError

LONG = "/home/somebody/models/quantized by <me> & you/SmolLM2-135M-Instruct-compressed-tensors-int4-$x_y$"
TWELVE = [(75.0, 0.9), (85.0, 4e-2), (80.0, 5e-2), (78.0, 6e-2), (77.0, 7e-2), (82.0, 3e-2), (135.0, 9e-4),
          (149.0, 3.1e-4), (142.0, 3.2e-4), (139.0, 3.3e-4), (269.0, 2e-5), (269.0, 2.1e-6)]  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A text of a picture, and where its line begins, ends or has its middle."""

    text: str
    x: float
    y: float


def texts(svg: bytes) -> list[Text]:
    """Every text, checked to lie inside the picture."""
    root = ElementTree.fromstring(svg)
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    found = []
    for element in root.iter():
        if element.tag.endswith("}text"):
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", element.attrib["transform"])]
            found.append(Text(element.text or "", *numbers[-2:]))
    assert all(0 <= text.x <= width and 0 <= text.y <= height for text in found)
    return found


def ticks(found: list[Text]) -> tuple[list[float], list[float]]:
    """The numbers along the bottom and along the side."""
    numbers = [text for text in found if re.fullmatch(r"[\d.,]+(e[-+]\d+)?", text.text)]
    bottom = max(text.y for text in numbers)
    below = [text for text in numbers if text.y == bottom]
    beside = [text for text in numbers if text.y != bottom]
    return tuple([float(text.text.replace(",", "")) for text in group] for group in (below, beside))  # type: ignore[return-value]


def row(name: str, megabytes: float, mean: float | None) -> Row:
    fidelity = None if mean is None else Fidelity(9, mean, mean, mean, 1.0, 0.0)
    return Row(name, megabytes, 8.0, 7.0, Score(9, 3.0, 0.1, 100.0), fidelity, None)


@pytest.mark.parametrize(
    "points",
    [
        [(134.5, 3e-4)],
        [(269.0, 2.1e-5), (149.0, 3.3e-4), (85.0, 3.9e-2)],
        TWELVE,
        [(3.0, 1e-5), (4.0, 2e-5), (144000.0, 2.0)],
        [(90.0, 1e-12), (100.0, 2e-5), (140.0, 2.0)],
        [(100.0, 1.1e-4), (100.5, 1.2e-4)],
        [(0.004, 1e-3), (0.005, 1e-3)],
    ],
    ids=["one", "three", "twelve", "a size far off", "a divergence far off", "neighbours", "small"],
)
def test_fidelity(points: list[tuple[float, float]]) -> None:
    names = [f"row{at}" for at in range(len(points) - 1)] + [LONG]
    rows = [row("base", 500.0, None), *(row(name, *point) for name, point in zip(names, points, strict=True))]
    found = texts(draw_fidelity(Result("9 tokens in a window", "float32", rows), "svg"))
    words = {text.text for text in found}
    assert {"weights in memory (MB)", "mean KL divergence (nats)", "9 tokens in a window"} <= words
    assert {short_name(name) for name in names} <= words and "base" not in words
    below, beside = ticks(found)
    for values, labels in zip(zip(*points, strict=True), (below, beside), strict=True):
        assert 2 <= len(labels) <= 13
        assert min(labels) <= min(values) and max(values) <= max(labels)
    labels = [text for text in found if text.text in map(short_name, names)]
    lines = sorted(text.y for text in labels)
    assert all(later - earlier > 10 for earlier, later in itertools.pairwise(lines)), "names lie on lines of their own"
    heights = [next(text.y for text in labels if text.text == short_name(name)) for name in names]
    by_divergence = [height for _, height in sorted(zip([mean for _, mean in points], heights, strict=True))]
    assert len(points) == 2 or by_divergence == sorted(heights, reverse=True), "a larger divergence lies higher"


def test_profiles() -> None:
    linear = Share("Linear 896 × 9728 int4g32", 24, 0.3, 0.6, "900 GOP/s", "40.2% of dot")
    many = [Share(f"Operator{at}", 24, 0.01 / 12, 1 / 12) for at in range(11)] + [Share(LONG, 1, 0.01 / 12, 1 / 12)]
    profiles = [
        Profile("pp512", 0.5, [linear, Share("RMSNorm", 49, 0.2, 0.4)], []),
        Profile("tg64", 0.01, many, []),
        Profile("tg4", 0.01, [Share("Linear", 1, 0.01, 1.0)], []),
    ]
    found = texts(draw_profiles(profiles, "svg"))
    words = [text.text for text in found]
    for profile in profiles:
        assert f"{profile.test}: a step of {profile.seconds * 1e3:.2f} ms" in words
        for share in profile.by_operator:
            assert f"{short_name(share.name)} ({share.count})" in words
    assert "60.0%, 300 ms, 40.2% of dot" in words and "100.0%, 10 ms" in words
    assert any(word.startswith("share of the step (%)") for word in words)
    names = sorted(text.y for text in found if text.text.endswith(")") and "%" not in text.text)
    assert len(names) == 15 and all(later - earlier > 10 for earlier, later in itertools.pairwise(names))
    assert {"60", "10", "100"} <= set(words), "the axes reach as far as the longest bars"


@pytest.mark.slow
@pytest.mark.parametrize("form, begin", [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_forms(form: str, begin: bytes, recwarn: pytest.WarningsRecorder) -> None:
    result = Result("9 tokens", "base", [row("模型", 3.0, 0.1)])
    picture = draw_fidelity(result, form)
    assert picture.startswith(begin) and picture == draw_fidelity(result, form)
    assert list(recwarn) == []


def test_what_the_user_set_for_other_pictures_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    result = Result("9 tokens", "base", [row("int8", 3.0, 0.1)])
    before = draw_fidelity(result, "svg")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        assert draw_fidelity(result, "svg") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_nothing_to_draw() -> None:
    with pytest.raises(UsageError, match="nothing to draw"):
        draw_fidelity(Result("9 tokens", "base", [row("base", 20.0, None)]), "svg")


@pytest.mark.parametrize(
    "heights, expected",
    [
        ([0.5], [0.5]),
        ([0.1, 0.5], [0.1, 0.5]),
        ([0.1, 0.1, 0.5], [0.1, 0.2, 0.5]),
        ([0.95, 1.0], [0.9, 1.0]),
        ([0.85, 0.9, 0.9], [0.8, 0.9, 1.0]),
    ],
)
def test_spread(heights: list[float], expected: list[float]) -> None:
    assert spread(heights, 0.1) == pytest.approx(expected)


def test_short_names_keep_their_end() -> None:
    assert short_name("int8") == "int8" and short_name("x" * LONGEST_NAME) == "x" * LONGEST_NAME
    assert len(short_name(LONG)) == LONGEST_NAME and short_name(LONG).endswith("-tensors-int4-$x_y$")


@pytest.mark.parametrize("command", [["bench", "--profile"], ["perplexity", "--base", "float32", "--text", __file__]])
@pytest.mark.parametrize("flag", ["--plot", "--svg"])
def test_without_matplotlib_is_told_before_anything_is_measured(
    command: list[str], flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main([*command, flag, "x.png"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        "error: pictures need the package matplotlib: install it with pip install 'ftllm-nb[pictures]'.\n"
    )

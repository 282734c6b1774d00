"""The table of ways to quantise, out of numbers that are made up here; the ways themselves are in tests/export."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks import quantisation
from benchmarks.quantisation import FLOAT, STATIC, table
from students.catalogue import build
from students.quantised import folded


def test_ratios_are_taken_round_by_round() -> None:
    times = {FLOAT: np.array([[2.0, 1.0], [4.0, 2.0]]), STATIC: np.array([[4.0, 4.0], [4.0, 4.0]]),
             "a": np.array([[1.0, 1.0], [1.0, 1.0]])}  # fmt: skip
    found = quantisation._ratios(times, "a")
    assert found["wall"] == {"ms": 1.0, "to_float": 0.375, "to_static": 0.25}
    assert found["processor"]["to_float"] == 0.75


def test_the_table_names_what_could_not_be_made() -> None:
    way = {
        "bytes": 45_000,
        "ccc": {"arousal": 0.99987, "dominance": None, "valence": 1.0},
        "processor": {"to_float": 0.5},
    }
    lines = table({"ways": {"ours": way, "theirs": {"failed": "ValueError: no"}}}).splitlines()
    assert lines[2] == "| ours | 45,000 | 0.50 | 0.9999 / - / 1.0000 |"
    assert lines[3] == "theirs: not made (ValueError: no)"


def test_the_docs_show_the_measured_table() -> None:
    root = Path(__file__).parents[2]
    measured = json.loads((root / "benchmarks" / "results" / "quantisation.json").read_text())
    assert table(measured) in (root / "docs" / "exporting.md").read_text()


def test_every_way_is_made_of_its_own_settings() -> None:
    ways = quantisation._ways(tune=True)
    assert len(ways) >= 8 and {FLOAT, STATIC, "ours (--int8)", "ours (--smallest)"} <= set(ways)
    assert "ours (--smallest)" not in quantisation._ways(tune=False)


def test_equalising_changes_the_weights_and_no_answer() -> None:
    torch.manual_seed(0)
    student, pcm = build("wav2small").eval(), torch.randn(2, 16_000)
    for block in (*student.fine, *student.coarse):
        block.norm.running_var.uniform_(0.5, 2)
        block.norm.bias.data.uniform_(-0.3, 0.3)
    even = quantisation.equalised(student)
    with torch.inference_mode():
        assert torch.allclose(even.pooled(pcm), student.pooled(pcm), rtol=1e-4, atol=1e-5)
    pairs = list(pairwise([*even.fine, *even.coarse]))
    for block, following in pairs:
        reach = folded(block)[0].abs().amax((1, 2, 3)), folded(following)[0].abs().amax((0, 2, 3))
        assert torch.allclose(*reach, rtol=0.1)

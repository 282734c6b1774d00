"""A line an axis between student and teacher, folded into the head."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill import runs
from distill.annotation import AXES
from distill.errors import Refused
from distill.learning.clips import Clips
from distill.learning.loop import answers
from students import catalogue, finishing
from students.batches import clean_batches
from students.calibration import calibrate
from students.loading import load
from students.training import train_student
from tests.students.test_hints import QUICK

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips() -> Clips:
    """Twelve clips of noise whose targets say nothing of them."""
    rng = np.random.default_rng(0)
    targets = rng.normal([0.3, 0.5, 0.7], [0.1, 0.2, 0.05], (12, 3)).astype(np.float32)
    pcm = rng.integers(-9000, 9000, 12 * 6000) * np.repeat(rng.uniform(0.1, 3, 12 * 60), 100)
    return Clips(pcm.astype(np.int16), np.arange(13) * 6000, targets, np.ones(12, np.float32))


def student(arch: str = "wav2small-17k") -> Any:
    torch.manual_seed(3)
    return catalogue.build(arch).eval()


@pytest.mark.parametrize("arch", catalogue.STUDENTS)
def test_the_folded_line_is_the_line(clips: Clips, arch: str) -> None:
    network = student(arch)
    before = answers(network, clean_batches(clips, np.arange(12), 4), CPU)[0]
    found = calibrate(network, clean_batches(clips, np.arange(12), 4))
    after, target = answers(network, clean_batches(clips, np.arange(12), 4), CPU)
    assert list(found) == list(AXES)
    for column, line in enumerate(found.values()):
        slope, offset = np.polyfit(before[:, column].astype(np.float64), target[:, column].astype(np.float64), 1)
        assert (line["slope"], line["offset"]) == (pytest.approx(slope, rel=1e-3), pytest.approx(offset, rel=1e-3))
        np.testing.assert_allclose(after[:, column], slope * before[:, column] + offset, atol=1e-4)
    np.testing.assert_allclose(after.mean(0), target.mean(0), atol=1e-4)


def test_a_calibrated_student_needs_no_further_line(clips: Clips) -> None:
    network = student()
    calibrate(network, clean_batches(clips, np.arange(12), 4))
    again = calibrate(network, clean_batches(clips, np.arange(12), 4))
    assert [line["slope"] for line in again.values()] == pytest.approx([1.0] * 3, abs=0.05)


def test_a_lacking_axis_and_answers_that_never_vary(clips: Clips) -> None:
    targets = clips.targets.copy()
    targets[:, 1] = np.nan
    some = Clips(clips.pcm, clips.offsets, targets, clips.peaks)
    network = student()
    torch.nn.init.zeros_(network.head.weight[0])
    before = copy.deepcopy(network.head)
    found = calibrate(network, clean_batches(some, np.arange(12), 4))
    assert set(found) == {"arousal", "valence"} and found["arousal"]["slope"] == 1.0
    assert torch.equal(network.head.weight[1], before.weight[1]) and torch.equal(network.head.bias[1], before.bias[1])
    assert network.head.bias[0].item() == pytest.approx(targets[:, 0].mean(), abs=1e-5)


@pytest.fixture(scope="module")
def labels(make_labels: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_labels(tmp_path_factory.mktemp("corpus"))


def test_a_run_tells_its_lines_and_keeps_the_folded_weights(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[np.ndarray] = []

    def listening(network: Any, batches: Any) -> Any:
        given = list(batches)
        heard.extend(batch.target.numpy() for batch in given)
        return calibrate(network, given)

    monkeypatch.setattr(finishing, "calibrate", listening)
    plain = train_student(labels, output=tmp_path / "plain", **QUICK)
    result = train_student(labels, output=tmp_path / "run", calibrate=True, **QUICK)
    assert "calibration" not in plain and set(result["calibration"]) == set(AXES)
    assert result["calibration"] == json.loads((tmp_path / "run" / "result.json").read_text())["calibration"]
    assert len(np.concatenate(heard)) == result["split"]["train"]  # never the held-out ones
    before, after = (load(tmp_path / run)[0].head for run in ("plain", "run"))
    lines = [result["calibration"][axis] for axis in AXES]
    for column, line in enumerate(lines):
        torch.testing.assert_close(after.weight[column], before.weight[column] * line["slope"])
        torch.testing.assert_close(after.bias[column], before.bias[column] * line["slope"] + line["offset"])
    assert runs.read_config(tmp_path / "run")["calibrate"] is True
    assert "calibrate" not in runs.read_config(tmp_path / "plain")
    with pytest.raises(Refused, match="was begun with calibrate True, now it is None"):
        train_student(labels, output=tmp_path / "run", **QUICK)

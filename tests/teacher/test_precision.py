"""Reduced precision is taken where the answers stay those of float32, and refused, in one line, where they do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from distill import cli, table
from distill.annotation import Annotation
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError, Refused
from distill.sources.manifest import Cut, Segment, list_segments
from teacher import precision
from teacher.asked import Asked, Task
from teacher.catalogue import open_teacher
from teacher.labelling import label
from teacher.precision import check_precision, compare
from teacher.published.products import multiplies_bfloat16
from tests.teacher import checkpoints

needs_bfloat16 = pytest.mark.skipif(
    not multiplies_bfloat16(torch.device("cpu")), reason="this processor does not multiply bfloat16"
)

TAUGHT = Asked("taught", "cpu", "bfloat16")

LAST = ("ser_model.out.0.weight", "ser_model.out.0.bias")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips that the small checkpoints tell apart."""
    folder = tmp_path_factory.mktemp("speech")
    for seed in (1, 2):
        for number, clip in enumerate(checkpoints.clips(12_000, seed=seed)):
            soundfile.write(folder / f"{seed}-{number}.wav", clip, SAMPLING_RATE, subtype="FLOAT")
    return folder


@pytest.fixture
def scaled(published: Mapping[str, Path], tmp_path: Path) -> Callable[[float], Path]:
    """scaled(factor): a small odyssey whose answers, and their differences, are that many times as large around 0.5."""

    def write(factor: float) -> Path:
        folder = tmp_path / f"times-{factor:g}"
        shutil.copytree(published["odyssey"], folder)
        tensors = load_file(folder / "model.safetensors")
        tensors[LAST[0]] = tensors[LAST[0]] * factor
        tensors[LAST[1]] = 0.5 + (tensors[LAST[1]] - 0.5) * factor
        save_file(tensors, folder / "model.safetensors")
        return folder

    return write


@needs_bfloat16
def test_answers_that_stay_pass_and_the_file_says_so(
    scaled: Callable[[float], Path], speech: Path, tmp_path: Path
) -> None:
    result = check_precision(audio=speech, teacher=str(scaled(0.25)), device="cpu", output=tmp_path / "check.json")
    assert result["passed"] and not result["why"] and (result["clips"], result["wanted"]) == (12, 200)
    assert all(0.999 <= value < 1 for value in result["ccc"].values()) and len(result["ccc"]) == 3
    assert 0 < result["largest_difference"] <= 0.01
    assert json.loads((tmp_path / "check.json").read_text()) == result


@needs_bfloat16
def test_answers_that_move_are_refused_before_anything_is_written(
    scaled: Callable[[float], Path], speech: Path, tmp_path: Path
) -> None:
    wild = str(scaled(40))
    result = check_precision(audio=speech, teacher=wild, device="cpu")
    assert not result["passed"] and any("off by" in reason for reason in result["why"])
    with pytest.raises(Refused, match="answers otherwise than in float32") as caught:
        label(speech, output=tmp_path / "labels", teacher=wild, device="cpu", precision="bfloat16")
    assert "\n" not in str(caught.value) and table.read_info(tmp_path / "labels") is None


@needs_bfloat16
def test_a_teacher_that_always_says_the_same_shows_nothing(scaled: Callable[[float], Path], speech: Path) -> None:
    result = check_precision(audio=speech, teacher=str(scaled(0)), device="cpu")
    assert not result["passed"] and result["largest_difference"] == 0
    assert result["why"] == [f"all answers for {axis} are the same, which shows nothing" for axis in result["ccc"]]


@needs_bfloat16
def test_one_clip_shows_nothing(scaled: Callable[[float], Path], speech: Path) -> None:
    assert not check_precision(audio=speech / "1-0.wav", teacher=str(scaled(0.25)), device="cpu")["passed"]


@needs_bfloat16
def test_labels_say_the_check_and_the_next_run_takes_it(
    scaled: Callable[[float], Path], speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"output": tmp_path / "labels", "teacher": str(scaled(0.25)), "device": "cpu"}
    assert label(speech, **asked, precision="bfloat16")["labelled"] == 12
    info = table.read_info(tmp_path / "labels")
    assert info is not None and info["precision"]["passed"] and info["precision"]["clips"] == 12
    assert info["arguments"]["precision"] == "bfloat16"
    monkeypatch.setattr(precision, "compare", None)  # not called again
    assert label(speech, **asked, precision="bfloat16")["skipped"] == 12
    with pytest.raises(Refused, match="was labelled with precision 'bfloat16', now it is 'float32'"):
        label(speech, **asked)


@needs_bfloat16
def test_a_check_of_before_is_taken_if_it_is_of_the_same(
    scaled: Callable[[float], Path], speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, other = str(scaled(0.25)), str(scaled(0.5))
    check = tmp_path / "check.json"
    made = check_precision(audio=speech, teacher=teacher, device="cpu", output=check)
    compared = []
    monkeypatch.setattr(precision, "compare", lambda *given: compared.append(given) or made)
    for name, output in ((teacher, "same"), (other, "other")):
        label(speech, output=tmp_path / output, teacher=name, device="cpu", precision="bfloat16", precision_check=check)
    assert [given[1].asked.teacher for given in compared] == [other]
    check.write_text(json.dumps({**made, "passed": False, "why": ["planted"]}))
    with pytest.raises(Refused, match="planted"):
        label(
            speech, output=tmp_path / "no", teacher=teacher, device="cpu", precision="bfloat16", precision_check=check
        )


def listed(folder: Path) -> list[Segment]:
    return [entry for entry in list_segments(folder, cut=Cut(30, 30)) if isinstance(entry, Segment)]


class Noisy:
    """A teacher whose answers carry noise, as a broken kernel would."""

    def __init__(self, annotator: Any, noise: float) -> None:
        self.annotator, self.card, self.noise = annotator, annotator.card, noise
        self.random = np.random.default_rng(0)

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        adv = self.annotator.annotate(signals, lengths, sampling_rate).adv
        return Annotation((adv + self.noise * self.random.standard_normal(adv.shape)).astype(np.float32))


@pytest.mark.parametrize(("noise", "passes"), [(0.0, True), (1e-4, True), (0.1, False), (float("nan"), False)])
def test_noise_is_heard(quick: Any, corpus: Path, noise: float, passes: bool) -> None:
    result = compare(listed(corpus), Task(corpus, TAUGHT), Noisy(quick, noise))
    assert result["passed"] is passes and bool(result["why"]) is not passes


def test_a_recording_that_cannot_be_read_is_left_out(quick: Any, corpus: Path) -> None:
    (corpus / "broken.wav").write_bytes(b"RIFF")
    result = compare(listed(corpus), Task(corpus, TAUGHT), quick)
    assert result["passed"] and result["clips"] == 4


@pytest.mark.parametrize("name", ["prosody", "taught", "meralion"])
def test_teachers_without_it_say_so_in_one_line(
    quick: Any, published: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("teacher.published.annotating.multiplies_bfloat16", lambda where: True)
    with pytest.raises(DistillError, match="computes in float32 alone") as caught:
        open_teacher(str(published.get(name, name)), "cpu", "bfloat16")
    assert "\n" not in str(caught.value)


def test_a_processor_without_it_says_so(published: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teacher.published.annotating.multiplies_bfloat16", lambda where: False)
    with pytest.raises(DistillError, match="this cpu does not multiply in it"):
        open_teacher(str(published["odyssey"]), "cpu", "bfloat16")


@needs_bfloat16
@pytest.mark.parametrize(("factor", "code", "word"), [(0.25, 0, "passed"), (40, 1, "failed")])
def test_the_command_says_it_with_its_exit_code(
    scaled: Callable[[float], Path], speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    factor: float, code: int, word: str,
) -> None:  # fmt: skip
    arguments = ["check-precision", "--teacher", str(scaled(factor)), "--audio", str(speech), "--device", "cpu"]
    left: Any = 0
    try:
        cli.main([*arguments, "-o", str(tmp_path / "check.json")])
    except SystemExit as error:
        left = error.code
    assert left == code and word in capsys.readouterr().out and (tmp_path / "check.json").is_file()

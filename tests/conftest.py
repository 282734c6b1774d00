"""What many tests stand on: small recordings, tiny exported students, a quick teacher, the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper

from distill.annotation import AXES, Annotation, TeacherCard
from distill.audio import SAMPLING_RATE

ROOT = Path(__file__).parents[1]

MakeStudent = Callable[..., Path]
Command = Callable[..., "subprocess.CompletedProcess[str]"]

#: Files whose few tests take minutes: they begin first, so that nobody waits for them at the end.
FIRST = ("test_scale.py",)

METADATA = {
    "name": "tiny", "sampling_rate": 16000, "axes": ["arousal", "dominance", "valence"], "derived": ["dominance"],
    "range": [0, 1], "shortest_seconds": 0.3, "licence": "MIT", "data_licence": "CC0-1.0", "lineage": [],
    "parameters": 17_234, "trainable": 16_001, "macs_per_second": 4_213_000.0, "tokens_per_second": 100.0,
    "hop_ms": 10.0, "precision": "float32",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture(scope="session")
def make_student() -> MakeStudent:
    """make_student(path, hidden=8, **metadata): an ONNX file, the mean of the rectified clip through two matrices.

    An axis that is not among `axes` is answered NaN.
    """
    return _save_student


@pytest.fixture(scope="session")
def lacking() -> Callable[[str, str], NoReturn]:
    """lacking(name, reason): skip, or fail where DISTILL_REQUIRE (names, commas between) asks for what is lacking."""
    return _lacking


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real recordings beside the checkout; skipped without them, unless DISTILL_REQUIRE names "shared"."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        _lacking("shared", f"needs recordings in {folder}")
    return folder


@pytest.fixture(scope="session")
def tone() -> Callable[..., np.ndarray]:
    """tone(seconds=1.0, pitch=440.0, peak=0.3, rate=16000): a sine, float32 [samples]."""
    return _tone


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of four recordings of 1.0, 1.5, 2.0 and 2.5 s, in two folders: a/one.wav, a/two.flac, b/..."""
    folder = tmp_path / "audio"
    for number, name in enumerate(("a/one.wav", "a/two.flac", "b/three.wav", "b/four.flac")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, _tone(1 + number / 2, 150 + 100 * number, 0.1 + 0.2 * number), SAMPLING_RATE)
    return folder


class QuickTeacher:
    """Answers in microseconds: mean level, peak, crossings of zero; counts what it is asked."""

    card = TeacherCard(
        "quick", "tests", "1", "MIT", "CC0-1.0", 0, AXES, (), (0.0, 1.0), "nothing", False, "none", False, 16000,
        shortest_seconds=0.3, longest_seconds=30.0,
    )  # fmt: skip

    def __init__(self) -> None:
        self.heard: list[int] = []

    def annotate(self, signals: np.ndarray, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        self.heard += list(lengths)
        return Annotation(np.array([self.answer(x[:n]) for x, n in zip(signals, lengths, strict=True)], np.float32))

    def answer(self, clip: np.ndarray) -> list[float]:
        return [float(np.abs(clip).mean()), float(clip.max()), float(np.mean(clip[1:] * clip[:-1] < 0))]


@pytest.fixture
def teach(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    """teach(annotator): hang an annotator into the catalogue; gives the name it goes by there."""
    from teacher import catalogue

    def hang(annotator: Any) -> str:
        module = ModuleType("teacher_of_a_test")
        module.Taught = type("Taught", (), {"load": staticmethod(lambda: annotator)})  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(catalogue.TEACHERS, "taught", f"{module.__name__}:Taught")
        return "taught"

    return hang


@pytest.fixture
def quick(teach: Callable[[Any], str]) -> QuickTeacher:
    """The quick teacher, which is called "taught" in the catalogue."""
    annotator = QuickTeacher()
    teach(annotator)
    return annotator


@pytest.fixture(scope="session")
def distill() -> Command:
    """distill("label", ...): the real command in a process of its own."""

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "distill", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", **{"cwd": ROOT, "timeout": 120, **options}
        )

    return run


def _lacking(name: str, reason: str) -> NoReturn:
    if name in os.environ.get("DISTILL_REQUIRE", "").split(","):
        pytest.fail(f"DISTILL_REQUIRE asks for {name}: {reason}")
    pytest.skip(reason)


def _tone(seconds: float = 1.0, pitch: float = 440.0, peak: float = 0.3, rate: int = SAMPLING_RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (peak * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def _save_student(path: Path, *, hidden: int = 8, **metadata: Any) -> Path:
    card = {**METADATA, **metadata}
    values = np.random.default_rng(0)
    weights = {"inward": values.normal(size=(1, hidden)), "outward": values.normal(size=(hidden, 3)) / hidden}
    weights["outward"][:, [axis not in card["axes"] for axis in AXES]] = np.nan
    nodes = [
        helper.make_node("Abs", ["pcm"], ["rectified"]),
        helper.make_node("ReduceMean", ["rectified", "axes"], ["mean"], keepdims=1),
        helper.make_node("MatMul", ["mean", "inward"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "outward"], ["adv"]),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    pcm = helper.make_tensor_value_info("pcm", TensorProto.FLOAT, ["batch", "samples"])
    adv = helper.make_tensor_value_info("adv", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "tiny", [pcm], [adv], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in card.items()})
    onnx.save(model, str(path))
    return path

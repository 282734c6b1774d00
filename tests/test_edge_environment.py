"""The edge needs no torch: predict, evaluate and benchmark in an environment of `pip install .` alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest
import soundfile

REPO = Path(__file__).parent.parent
STUDENT = "wav2small-int8"
PACKAGES = ("distill", "teacher", "students", "export", "benchmarks")


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment with the project's plain install. The checkout is not touched."""
    folder = tmp_path_factory.mktemp("edge")
    source, ignored = folder / "source", shutil.ignore_patterns("__pycache__", "results", "node_modules")
    for name in (*PACKAGES, "tests"):
        shutil.copytree(REPO / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source / name)
    venv.create(folder / "env", with_pip=True)
    subprocess.run([folder / "env/bin/pip", "install", "--quiet", source], check=True)
    return folder / "env" / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with a clip, a truth, and other people's packages of our names."""
    for name in PACKAGES[1:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('somebody else's package')")
    time = np.arange(48_000) / 16_000
    for number in range(3):
        voice = np.sin(2 * np.pi * (120 + 40 * number) * time) * (1 + np.sin(2 * np.pi * 4 * time))
        soundfile.write(tmp_path / f"clip{number}.wav", 0.3 * voice, 16_000)
    (tmp_path / "truth.csv").write_text("file,arousal,valence\nclip0,0.2,0.5\nclip1,0.5,0.4\nclip2,0.9,0.1\n")
    return tmp_path


def run(edge: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run([edge / "python", "-m", "distill", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_torch_is_not_there(edge: Path) -> None:
    found = subprocess.run([edge / "python", "-c", "import torch"], capture_output=True)
    assert found.returncode != 0


def test_tests_are_not_installed(edge: Path) -> None:
    installed = next((edge.parent / "lib").glob("python3*/site-packages"))
    assert (installed / "distill").is_dir()
    assert not (installed / "tests").exists()


def test_predict_answers_at_once_with_the_student_that_comes(edge: Path, elsewhere: Path) -> None:
    done = subprocess.run([edge / "distill", "predict", "clip0.wav"], cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("clip0.wav 0.00-3.00 s: arousal 0.")
    assert done.stderr.startswith("wav2small (float32): weights MIT; trained on CC0-1.0 (EMO-DB audio)")


def test_predict_answers(edge: Path, elsewhere: Path) -> None:
    answer = json.loads(run(edge, elsewhere, "predict", "clip0.wav", "--student", STUDENT, "--json"))
    assert answer["file"] == "clip0.wav"
    assert 0 < answer["arousal"] < 1.5


def test_predict_draws_and_names(edge: Path, elsewhere: Path) -> None:
    said = run(edge, elsewhere, "predict", ".", "--window", "1", "--words", "--plot", "out.html")
    assert len(said.splitlines()) == 9 and said.startswith("clip0.wav 0.00-1.00 s: arousal")
    assert (elsewhere / "out.html").read_text().count("<svg") == 3


def test_evaluate_compares_with_a_csv(edge: Path, elsewhere: Path) -> None:
    truth = ("--truth", "truth.csv", "--audio", ".", "--json")
    result = json.loads(run(edge, elsewhere, "evaluate", "--student", STUDENT, *truth))
    assert result["n"] == 3
    assert set(result["ccc"]) == {"arousal", "valence"}


def test_benchmark_reports(edge: Path, elsewhere: Path) -> None:
    run(edge, elsewhere, "benchmark", STUDENT, "-o", "report", "--rounds", "3")
    assert json.loads((elsewhere / "report" / "benchmark.json").read_text())["models"][0]["parameters"] == 72_477
    assert (elsewhere / "report" / "report.html").is_file()


def test_a_command_that_needs_more_names_the_extra(edge: Path, elsewhere: Path) -> None:
    done = subprocess.run(
        [edge / "distill", "export", "runs/none", "-o", "student.onnx"], cwd=elsewhere, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install '.[train]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1

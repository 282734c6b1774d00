"""Memory of a process of its own, found whatever folder the command runs in."""

import pytest

from benchmarks.memory import in_fresh_process, peak_rss_bytes
from distill.errors import DistillError


def test_runtime_and_model_are_told_apart(make_student, tmp_path):
    small = in_fresh_process(make_student(tmp_path / "small.onnx"))
    large = in_fresh_process(make_student(tmp_path / "large.onnx", hidden=2_000_000))  # 32 MB of weights
    assert small["runtime"] > 10e6
    assert small["model"] > 0
    assert large["model"] - small["model"] > 20e6
    assert abs(large["runtime"] - small["runtime"]) < 10e6


def test_the_parents_own_peak_does_not_count(make_student, tmp_path):
    ballast = bytearray(b"1") * 400_000_000
    assert peak_rss_bytes() > len(ballast)
    assert in_fresh_process(make_student(tmp_path / "small.onnx"))["runtime"] < 300e6


def test_packages_of_the_current_folder_do_not_hide_ours(make_student, tmp_path, monkeypatch):
    for name in ("benchmarks", "distill", "export"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the wrong package')")
    make_student(tmp_path / "small.onnx")
    monkeypatch.chdir(tmp_path)
    assert in_fresh_process((tmp_path / "small.onnx").relative_to(tmp_path))["model"] > 0


def test_a_process_that_fails_says_why(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(DistillError, match=r"broken\.onnx.*fresh process.*onnxruntime cannot load"):
        in_fresh_process(tmp_path / "broken.onnx")

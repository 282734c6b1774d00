"""Memory of a process of its own, found whatever folder the command runs in."""

import pytest

from benchmarks import memory
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


def program(path, *lines):
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return str(path)


def test_what_else_a_process_prints_is_not_taken_for_its_figures(tmp_path, monkeypatch):
    chatty = program(tmp_path / "python", "echo a warning of some library", """echo '{"runtime": 2, "model": 1}'""")
    monkeypatch.setattr(memory.sys, "executable", chatty)
    assert in_fresh_process(tmp_path / "any.onnx") == {"runtime": 2, "model": 1}


@pytest.mark.parametrize(
    ("lines", "said"),
    [(["exit 3"], "exit code 3"), (["kill -9 $$"], "exit code -9"),
     (["echo first >&2", "echo last >&2", "exit 1"], "last")],
)  # fmt: skip
def test_a_process_that_dies_in_silence_is_named_by_its_code(tmp_path, monkeypatch, lines, said):
    monkeypatch.setattr(memory.sys, "executable", program(tmp_path / "python", *lines))
    with pytest.raises(DistillError, match=rf"any\.onnx: its memory could not be measured.*: {said}$"):
        in_fresh_process(tmp_path / "any.onnx")


def test_the_process_computes_on_one_thread_whatever_ours_does(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    told = """echo "{\\"runtime\\": $OMP_NUM_THREADS, \\"model\\": $OPENBLAS_NUM_THREADS}" """
    monkeypatch.setattr(memory.sys, "executable", program(tmp_path / "python", told))
    assert in_fresh_process(tmp_path / "any.onnx") == {"runtime": 1, "model": 1}


def test_peaks_never_fall():
    before = peak_rss_bytes()
    ballast = bytearray(b"1") * 50_000_000
    between = peak_rss_bytes()
    del ballast
    assert before <= between <= peak_rss_bytes()

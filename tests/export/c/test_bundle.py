"""`distill export --c`: the folder beside the file, its own test, its rung, and when there is none."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from distill.errors import DistillError
from distill.files import sha256_of
from export import source
from export.c import bundle as in_c
from export.c import compiled
from export.exporting import export, tell
from export.ladder import LIMITS, Limit


@pytest.fixture(scope="module", autouse=True)
def short_ladder():
    """One clip of each length: what the rung is told apart by needs no more."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(source, "probes", functools.partial(source.probes, count=8))
        yield


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory, cc, short_ladder):
    """student.onnx and what lies beside it; not to be changed."""
    folder = tmp_path_factory.mktemp("in_c")
    result = export(trained, output=folder / "student.onnx", int8=True, c=True)
    return folder, result


def test_the_rung_is_the_file_the_engine_was_made_with(exported):
    folder, result = exported
    rung = result["ladder"][-1]
    assert rung["rung"] == "c" and rung["against"] == "onnx int8" and rung["passed"]
    assert rung["max_abs"] < LIMITS["c"].max_abs and min(rung["ccc"].values()) > LIMITS["c"].ccc
    assert [other["against"] for other in result["ladder"][:-1]] == ["torch"] * 3
    assert "CCC with onnx int8" in tell(result).splitlines()[3]
    card = (folder / "README.md").read_text()
    assert " from onnx int8 on" in card and "onnx int8 against torch, by what the clips are:" in card
    assert json.loads((folder / "student.json").read_text())["c"] == result["c"]


def test_the_json_tells_every_source(exported):
    folder, result = exported
    told = result["c"]
    sources = {"student.c", "student.h", "student_weights.h", "student_weights_x86.h"}
    assert set(told["files"]) == {*sources, "CMakeLists.txt", "test_student.c"}
    for name, file in told["files"].items():
        path = folder / told["folder"] / name
        assert (file["bytes"], file["sha256"]) == (path.stat().st_size, sha256_of(path))
    assert told["compiler"] and "unchecked" not in told


def test_its_own_test_holds(exported, lacking, tmp_path):
    if shutil.which("cmake") is None:
        lacking("cc", "needs cmake")
    for command in (["-B", tmp_path, "-S", exported[0] / "c"], ["--build", tmp_path]):
        subprocess.run(["cmake", *map(str, command)], check=True, capture_output=True)
    done = subprocess.run([tmp_path / "test_student"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("as expected") >= 10


@pytest.mark.parametrize("name, behind", [("golden.h", "}, {"), ("student_weights.h", " HEAD_BIAS")])
def test_its_own_test_notices(exported, cc, tmp_path, name, behind):
    """An answer with a digit more, a bias with one."""
    shutil.copytree(exported[0] / "c", tmp_path / "c")
    path = tmp_path / "c" / name
    before, after = path.read_text().split(behind, 1)
    path.write_text(before + behind + re.sub(r"(\d+),", r"9\1,", after, count=1))
    command = [cc, "-std=c99", "-O1", "-I.", "student.c", "test_student.c", "-o", "test_student"]
    subprocess.run(command, cwd=tmp_path / "c", check=True)
    done = subprocess.run([tmp_path / "c" / "test_student"], capture_output=True, text=True)
    assert done.returncode == 1 and "DIFFERS" in done.stdout


def test_without_a_compiler_it_says_so(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(in_c, "compiler", lambda: None)
    result = export(trained, output=tmp_path / "student.onnx", int8=True, c=True)
    assert [rung["rung"] for rung in result["ladder"]] == ["onnx float", "onnx folded", "onnx int8"]
    assert result["c"]["compiler"] is None and result["c"]["unchecked"] == in_c.NO_COMPILER
    assert in_c.NO_COMPILER in capsys.readouterr().err
    assert "GOLDEN_EXACT 0" in (tmp_path / "c" / "golden.h").read_text()


def test_nothing_is_written_where_the_engine_differs(trained, tmp_path, monkeypatch, cc):
    monkeypatch.setitem(LIMITS, "c", Limit(max_abs=0.0, ccc=1.1))
    with pytest.raises(DistillError, match=r"the ladder breaks at c: .* CCC with onnx int8"):
        export(trained, output=tmp_path / "student.onnx", int8=True, c=True)
    assert not (tmp_path / "student.onnx").exists() and not (tmp_path / "c").exists()


def test_what_cannot_be_is_refused_before_the_work(trained, tmp_path, monkeypatch):
    with pytest.raises(DistillError, match="--c computes in integers"):
        export(trained, output=tmp_path / "student.onnx", c=True)
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_refuses_is_told(tmp_path, cc):
    (tmp_path / "student.c").write_text("int student;\nint student = letters;\n")
    with pytest.raises(DistillError, match=r"does not compile: .*letters"):
        compiled.compiled(tmp_path)


def test_the_compiler_that_cc_names_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert compiled.compiler() is None
    with pytest.raises(DistillError, match="no C compiler here"):
        compiled.compiled(tmp_path)


def test_golden_vectors_in_c_tell_the_axes_that_lack():
    onnx = np.array([[0.5, np.nan, -0.25]], np.float32)
    text = in_c.golden_header([np.array([1, -2], np.int16)], onnx, np.array([[1, -(2**31), 3]], np.int32), run=True)
    assert "{CLIP_0, 2, {32768, STUDENT_UNTAUGHT, -16384}, {1, STUDENT_UNTAUGHT, 3}}," in text
    assert "#define GOLDEN_TOLERANCE 655" in text


def test_a_compiler_that_does_not_know_this_processor_is_taken(written, cc, tmp_path, monkeypatch, clips):
    picky = tmp_path / "picky"
    picky.write_text(
        f'#!/bin/sh\ncase "$*" in *-march=native*) echo "error: no such option" >&2; exit 1;; esac\n{cc} "$@"\n'
    )
    picky.chmod(0o755)
    monkeypatch.setenv("CC", str(picky))
    folder = written("wav2small-lite").folder
    assert (compiled.compiled(folder).hear([clips[0]]) == compiled.compiled(folder, flags=()).hear([clips[0]])).all()

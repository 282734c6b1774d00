"""The command: what it prints, what it refuses in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.commands import _line, _lines
from distill import cli
from tests.benchmarks.made import device, model, native, record, timed

MakeStudent = Callable[..., Path]
Captured = pytest.CaptureFixture[str]


def refused(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(["benchmark", *map(str, arguments)])
    return int(left.value.code or 0)


def test_a_line_a_model_says_what_the_figures_are_of() -> None:
    peak = {"runtime": 60_000_000, "model": 12_400_000}
    line = _line(model(latency_ms={"5": timed(4.04, 3.96, 5.51)}, peak_rss_bytes=peak))
    assert line == (
        "runs/w2s.onnx: 71,984 bytes, 5 s of audio in 4.0 ms (4.0 to 5.5; this host, one thread), "
        "peak memory 12 MB over the runtime"
    )


def test_a_line_a_device_says_instructions_and_a_bracket_of_cycles() -> None:
    helium = device(cycles_per_second=None, instructions_per_second=22_000_000)
    said = {"name": "hearing-aid", "verdict": "fits"}
    result = {**record(), "devices": {"cortex-m4": device(), "cortex-m55": helium, "host": native()}, "profile": said}
    memory = "79,348 bytes of flash, 14,428 of RAM (588 of them stack)"
    assert list(_lines(result))[1:] == [
        f"in C on an emulated cortex-m4: 63.7 M instructions a second of audio, 92.9 to 107.2 M cycles; {memory}",
        f"in C on an emulated cortex-m55: 22.0 M instructions a second of audio; {memory}",
        "in C on this host: 5 s of audio in 1.2 ms (1.1 to 1.3; this host, one thread)",
        "hearing-aid: fits",
    ]


def test_models_that_take_long_clips_alone_are_measured_too(
    make_student: MakeStudent, tmp_path: Path, capsys: Captured
) -> None:
    """Five seconds are too short for the second one: its line says so, after all the work."""
    models = [make_student(tmp_path / "quick.onnx"), make_student(tmp_path / "long.onnx", shortest_seconds=6.0)]
    cli.main(["benchmark", *map(str, models), "-o", str(tmp_path / "report"), "--rounds", "3", "--seed", "5"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{models[0]}: ") and " 5 s of audio in " in first
    assert second.startswith(f"{models[1]}: ") and "no answer to 5 s of audio" in second and " MB over" in second
    written = json.loads((tmp_path / "report" / "benchmark.json").read_text())
    assert written["settings"]["seed"] == 5 and written["settings"]["rounds"] == 3
    timed_at = [[length for length, each in one["latency_ms"].items() if each] for one in written["models"]]
    assert timed_at == [["1", "3", "5", "10"], ["10"]]
    assert written["models"][1]["ratio_to_first"]["5"] is None and written["models"][1]["ratio_to_first"]["10"] > 0


@pytest.mark.parametrize("rounds", ["2", "0", "-1", "many"])
def test_too_few_rounds_are_no_measurement(
    make_student: MakeStudent, tmp_path: Path, capsys: Captured, rounds: str
) -> None:
    student = make_student(tmp_path / "a.onnx")
    assert refused(student, "-o", tmp_path / "report", "--rounds", rounds) == 2
    assert "'--rounds'" in capsys.readouterr().err and not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["gone.onnx", "-o", "report"], "gone.onnx: no such student"), (["-o", "report"], "Missing argument 'MODELS...'"),
     (["a.onnx", "-o", "report", "--device", "z80"],
      "z80: no such device; there are cortex-m3, cortex-m4, cortex-m55, host"),
     (["a.onnx", "-o", "report", "--profile", "toaster"], "toaster: no such profile; there are hearing-aid"),
     (["a.onnx", "-o", "report", "--device", "cortex-m4"], "no student in C beside a.onnx"),
     (["a.onnx", "-o", "report", "--truth", "x.csv"], "agreement needs both"),
     (["a.onnx", "-o", "report", "--truth", "x.csv", "--audio", "."], "x.csv: no such file of ratings"),
     (["a.onnx", "-o", "report", "--truth", "t.csv", "--audio", "gone"], "gone: no such folder of audio"),
     (["a.onnx", "-o", "a.onnx"], "a.onnx: the report cannot be written there")],
)  # fmt: skip
def test_what_cannot_be_is_one_line(
    make_student: MakeStudent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured,
    arguments: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    make_student(tmp_path / "a.onnx")
    (tmp_path / "t.csv").write_text("file,arousal\n")
    assert refused(*arguments) in (1, 2)
    err = capsys.readouterr().err
    assert said in err and err.startswith("distill") and err.count("\n") == 1
    assert not (tmp_path / "report").exists()

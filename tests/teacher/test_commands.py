"""What the teachers' commands print, from results whose numbers are known, and what they refuse before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill import cli
from teacher.commands import _bytes, _calibrated, _compared, _estimated, _labelled, _lines, _timed, _trained
from teacher.published.cards import FAMILIES

Captured = pytest.CaptureFixture[str]


def refused(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([*map(str, arguments)])
    return int(left.value.code or 0)


def estimated(**changes: Any) -> list[str]:
    """The lines of an estimate."""
    found = {
        "missing": 1200, "skipped": 30, "unlisted": 2, "audio_hours": 12.345,
        "wall_seconds": {"value": 7384.0, "low": 3600.0, "high": 10_000.0}, "real_time_factor": 0.16612,
        "disk_bytes": 2_345_678.0, "disk_bytes_with_embeddings": 9.9e9, "cost": None, "machine": "host (chip, 4 cores)",
        "jobs": 4, "sample": {"segments": 64, "failed": 3, "audio_seconds": 320.25, "wall_seconds": 19.98},
    }  # fmt: skip
    return _estimated({**found, **changes}).splitlines()


def test_an_estimate_is_read_in_hours_ranges_and_bytes() -> None:
    assert estimated() == [
        "1200 segments to label, 12.35 hours of audio (30 already done, 2 cannot be listed)",
        "about 2 h 03 min (1 h 00 min to 2 h 46 min) on host (chip, 4 cores), 4 jobs",
        "0.17 seconds of work a second of audio",
        "2.3 MB on disk, 9.9 GB with embeddings",
        "timed on 64 segments (320.2 s of audio in 20.0 s), 3 of them failed; the table is not touched",
    ]  # fmt: skip


def test_an_estimate_says_the_cost_where_an_hour_has_a_price() -> None:
    cost = {"value": 4.104, "low": 2.0, "high": 5.556}
    assert estimated(cost=cost)[3] == "cost about 4.10 (2.00 to 5.56)"
    assert estimated(disk_bytes_with_embeddings=None)[3] == "2.3 MB on disk", "the teacher has none"
    assert estimated(jobs=1)[1].endswith(", 1 job") and len(estimated(cost=cost)) == len(estimated()) + 1


@pytest.mark.parametrize(
    ("size", "written"), [(0.0, "0.0 kB"), (999_949, "999.9 kB"), (1e6, "1.0 MB"), (1e9, "1.0 GB"),
    (2.5e12, "2500.0 GB")]
)  # fmt: skip
def test_bytes_on_disk(size: float, written: str) -> None:
    assert _bytes(size) == written


def test_a_labelled_table_is_counted() -> None:
    done = {"labelled": 12, "audio_seconds": 90.0, "skipped": 3, "failed": 1, "output": Path("labels")}
    assert _labelled(done) == "12 segments labelled (1.5 minutes of audio), 3 already done, 1 failed: labels"


def checked(**changes: Any) -> str:
    found = {
        "teacher": "odyssey", "precision": "bfloat16", "clips": 12, "wanted": 200,
        "ccc": {"arousal": 0.999876, "valence": 0.99}, "largest_difference": 0.004321, "passed": True, "why": [],
    }  # fmt: skip
    return _compared({**found, **changes})


def test_a_check_of_the_precision_says_why_it_failed() -> None:
    assert checked() == (
        "odyssey in bfloat16 against float32 on 12 clips (200 wanted): CCC arousal 0.99988, valence 0.99000; "
        "largest difference 0.00432; passed"
    )
    assert checked(passed=False, why=["CCC of valence 0.9900, not 0.999", "a clip"]).endswith(
        "; failed: CCC of valence 0.9900, not 0.999; a clip"
    )
    assert "CCC -; largest difference nan; failed: no clip" in checked(
        ccc={}, largest_difference=float("nan"), passed=False, why=["no clip could be heard"]
    )


def test_a_benchmark_of_labelling_names_ratio_spread_and_share() -> None:
    way = {"median": 80.04, "p10": 75.0, "p90": 99.96, "ratio": 1.234, "ratio_p10": 1.1, "ratio_p90": 1.3,
           "processor_ratio": 1.25, "share": None}  # fmt: skip
    result = {
        "seconds": 5.0, "rounds": 7, "device": "cpu", "ways": {"float32": way, "bfloat16": {**way, "share": 0.456}},
        "overhead": {"times_real_time": 812.4, "jobs": 2},
    }  # fmt: skip
    head, plain, shared, rest = _timed(result).splitlines()
    assert head == "clips of 5 s, 7 rounds, cpu"
    assert plain == (
        "float32: 80.0 ms a clip (75.0 to 100.0), 1.23 times the plain loop (1.10 to 1.30; 1.25 by processor time)"
    )
    assert shared.startswith("bfloat16: ") and shared.endswith("time), 46 % of the product rate")
    assert rest == "all but the teacher: 812 times real time, FLAC, 2 processes"


def test_training_and_calibrating_say_what_speakers_left_out_say() -> None:
    trained = {"output": "mine", "n": 9, "loso_ccc": {"arousal": 0.8124, "valence": 0.5}}
    assert _trained(trained) == "mine: 9 clips, CCC on the speaker left out: arousal 0.812, valence 0.500"
    fitted = {"gain": 2.0, "offset": -0.25, "n": 40, "speakers": 4, "ccc_before": 0.2, "ccc_after": 0.75, "note": None}
    left = {**fitted, "note": "the answers are all the same", "ccc_before": None, "ccc_after": None}
    lines = _calibrated({"output": "c.json", "clips": 40, "failed": 1, "axes": {"arousal": fitted, "valence": left}})
    assert lines.splitlines() == [
        "c.json: 40 clips answered, 1 failed",
        "  arousal: 2.000 x answer -0.250, CCC 0.200 -> 0.750 on speakers left out (40 clips of 4 speakers)",
        "  valence: the answers are all the same (40 clips of 4 speakers)",
    ]


def test_a_teacher_is_listed_with_both_licences_and_its_proof() -> None:
    lines = _lines(FAMILIES["audeering"].card.as_dict()).splitlines()
    assert lines[0] == "audeering: audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim, 165,336,707 parameters"
    assert lines[1] == "  answers arousal, dominance, valence, about 0 to 1, to clips of 0.3 to 12 s"
    assert lines[2] == "  normalisation: zero mean, unit variance per clip; gain-invariant"
    assert lines[3] == "  weights CC-BY-NC-SA-4.0; trained on MSP-Podcast academic licence (restricted)"
    derived = {**FAMILIES["odyssey"].card.as_dict(), "derived": ["dominance"]}
    assert "valence (dominance derived), about" in _lines(derived) and "; gain moves it" in _lines(derived)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--price-per-hour", "2"], "--price-per-hour goes with --estimate"),
     (["--estimate", "--engine", "ray"], "no --engine, no --precision-check"),
     (["--estimate", "--address", "auto"], "no --engine"),
     (["--estimate", "--precision-check", "c.json"], "no --engine"),
     (["--price-per-hour", "-1", "--estimate"], "'--price-per-hour'"), (["--jobs", "0"], "'--jobs'"),
     (["--views", "0"], "'--views'"), (["--engine", "slurm"], "'--engine'"), (["--precision", "int8"], "'--precision'"),
     (["--where", "speaker"], "'speaker' is not NAME=VALUE"), (["--require-licence", "free"], "'--require-licence'")],
)  # fmt: skip
def test_options_that_contradict_each_other_are_a_usage_error(
    corpus: Path, tmp_path: Path, capsys: Captured, arguments: list[str], said: str
) -> None:
    assert refused("label", corpus, "-o", tmp_path / "labels", "--teacher", "prosody", *arguments) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not (tmp_path / "labels").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--cache-gb", "inf"], "--cache-gb inf: must be gigabytes, 0 or more"), (["--cache-gb", "nan"], "--cache-gb nan"),
     (["--cache-gb", "-1"], "--cache-gb -1"),
     (["--hop", "0"], "--hop 0: must be above 0 and at most the window of 30 s"),
     (["--hop", "nan"], "--hop nan"), (["--window", "0.1"], "--window 0.1: prosody takes clips of 0.3 to 30 s"),
     (["--window", "nan"], "--window nan"), (["--window", "2", "--hop", "2.5"], "at most the window of 2 s"),
     (["--vad", "--vad-threshold", "nan"], "--vad-threshold nan: must be between 0 and 1"),
     (["--vad", "--vad-pause", "-0.1"], "--vad-pause -0.1: must be from 0 to the window"),
     (["--precision", "bfloat16"], "prosody computes in float32 alone")],
)  # fmt: skip
def test_values_that_cannot_be_are_one_line_and_no_table(
    corpus: Path, tmp_path: Path, capsys: Captured, arguments: list[str], said: str
) -> None:
    assert refused("label", corpus, "-o", tmp_path / "labels", "--teacher", "prosody", *arguments) == 1
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not (tmp_path / "labels").exists()


def test_strict_turns_a_failure_into_the_exit_code_after_the_work(
    corpus: Path, tmp_path: Path, capsys: Captured, quick: Any
) -> None:
    (corpus / "broken.wav").write_bytes(b"RIFF")
    arguments = ("label", corpus, "-o", tmp_path / "labels", "--teacher", "taught", "--jobs", "1")
    assert refused(*arguments, "--strict") == 1
    assert "4 segments labelled" in capsys.readouterr().out
    cli.main([*map(str, arguments)])
    assert "0 segments labelled" in (out := capsys.readouterr().out) and "4 already done, 1 failed" in out


def test_a_file_that_is_no_check_of_the_precision_is_one_line(
    corpus: Path, tmp_path: Path, capsys: Captured, quick: Any
) -> None:
    (tmp_path / "list.json").write_text("[1]")
    arguments = ("label", corpus, "-o", tmp_path / "labels", "--teacher", "taught", "--precision-check")
    for check, said in (("list.json", "no file of `distill check-precision`"), ("none.json", "no such file")):
        assert refused(*arguments, tmp_path / check) == 1
        err = capsys.readouterr().err
        assert f"{check}: {said}" in err and err.count("\n") == 1

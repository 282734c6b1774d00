"""Answers against a truth: matched by path, then by base name; compared on the axes that both sides have."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill import table
from distill.audio import read
from distill.errors import DistillError
from distill.evaluation import answering, evaluate
from distill.files import sha256_of
from distill.metrics import ccc
from distill.prediction import predict

Tone = Callable[..., np.ndarray]
Make = Callable[..., Path]
Command = Callable[..., Any]

FILES = ("a/one.wav", "a/two.flac", "b/three.wav", "b/four.flac")
AROUSAL, VALENCE = (0.1, 0.4, 0.5, 0.9), (0.9, 0.2, 0.6, 0.3)


def write(path: Path, columns: Sequence[str], *rows: Sequence[Any]) -> Path:
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([columns, *rows])
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    rows = zip(FILES, AROUSAL, VALENCE, ("f", "f", "m", "m"), strict=True)
    return write(tmp_path / "truth.csv", ["file", "arousal", "valence", "sex"], *rows)


@pytest.fixture
def student(tmp_path: Path, make_student: Make) -> Path:
    return make_student(tmp_path / "student.onnx")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_student_is_compared_with_a_csv(truth: Path, student: Path, corpus: Path, tmp_path: Path) -> None:
    result = evaluate(truth=truth, student=student, audio=corpus, by=["sex"], output=tmp_path / "out" / "e.json")
    answers = [next(predict(corpus / file, student=student)) for file in FILES]
    assert list(result) == ["n", "ccc", "pearson", "mae", "slices", "failed", "asked", "truth"]
    assert (result["n"], result["failed"]) == (4, 0)
    assert list(result["ccc"]) == ["arousal", "valence"]
    expected = ccc(np.array([answer.valence for answer in answers]), np.array(VALENCE))
    assert result["ccc"]["valence"]["value"] == pytest.approx(float(expected), abs=1e-6)
    assert set(result["ccc"]["valence"]) == {"value", "low", "high"}
    assert {sex: part["n"] for sex, part in result["slices"]["sex"].items()} == {"f": 2, "m": 2}
    saved = json.loads((tmp_path / "out" / "e.json").read_text())
    assert saved["ccc"] == result["ccc"] and saved["slices"]["sex"]["f"]["ccc"]["arousal"]["low"] is None
    rows = read_csv(tmp_path / "out" / "e.predictions.csv")
    assert [row["file"] for row in rows] == list(FILES)
    assert [float(row["arousal"]) for row in rows] == pytest.approx([a.arousal for a in answers], abs=1e-6)
    assert [float(row["true_valence"]) for row in rows] == pytest.approx(VALENCE)
    assert [row["true_dominance"] for row in rows] == [""] * 4
    assert not (tmp_path / "out" / "e.failed.csv").exists()


def test_perfect_predictions_agree_wholly(truth: Path, tmp_path: Path) -> None:
    given = write(tmp_path / "p.csv", ["file", "valence", "arousal"], *zip(FILES, VALENCE, AROUSAL, strict=True))
    result = evaluate(truth=truth, predictions=given)
    assert result["ccc"]["arousal"]["value"] == pytest.approx(1) == result["ccc"]["valence"]["value"]
    assert result["mae"] == {"arousal": 0, "valence": 0}


def test_saved_predictions_can_be_evaluated_again(truth: Path, student: Path, corpus: Path, tmp_path: Path) -> None:
    first = evaluate(truth=truth, student=student, audio=corpus, output=tmp_path / "e.json")
    again = evaluate(truth=truth, predictions=tmp_path / "e.predictions.csv")
    for axis in ("arousal", "valence"):
        assert again["ccc"][axis]["value"] == pytest.approx(first["ccc"][axis]["value"], abs=1e-4)


def test_answers_stand_beside_others_of_the_same_clips(truth: Path, tmp_path: Path) -> None:
    """One clip of theirs is lacking: only what both have answered is compared."""
    ours = [value + 0.1 for value in AROUSAL]
    mine = write(tmp_path / "mine.csv", ["file", "arousal", "valence"], *zip(FILES, ours, VALENCE, strict=True))
    theirs = write(tmp_path / "theirs.csv", ["file", "arousal"], *zip(FILES[1:], AROUSAL[1:], strict=True))
    beside = evaluate(truth=truth, predictions=mine, against=theirs)["against"]
    assert (beside["n"], beside["answers"], list(beside["ratio"])) == (3, str(theirs), ["arousal"])
    kept = float(ccc(np.array(ours[1:]), np.array(AROUSAL[1:])))
    assert beside["ratio"]["arousal"]["value"] == pytest.approx(kept, abs=1e-6) and beside["ccc"]["arousal"] == 1
    assert beside["difference"]["arousal"]["value"] == pytest.approx(kept - 1, abs=1e-6)
    assert beside["ratio"]["arousal"]["low"] <= kept <= beside["ratio"]["arousal"]["high"]


def test_others_that_know_none_of_the_clips_are_refused(truth: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.csv", ["file", "arousal"], *zip(FILES, AROUSAL, strict=True))
    theirs = write(tmp_path / "theirs.csv", ["file", "arousal"], ("other.wav", 0.5))
    with pytest.raises(DistillError, match="compared with have none of its clips"):
        evaluate(truth=truth, predictions=mine, against=theirs)


def test_the_share_that_is_kept_is_printed(distill: Command, truth: Path, tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.csv", ["file", "arousal"], *zip(FILES, AROUSAL, strict=True))
    done = distill("evaluate", "--truth", truth, "--predictions", mine, "--against", mine)
    assert "arousal    100.0% [100.0%, 100.0%] of its CCC 1.000" in done.stdout, done.stderr


def test_predictions_are_matched_by_base_name(truth: Path, tmp_path: Path) -> None:
    rows = zip(("one", "x/two.flac", "three.wav", "four"), AROUSAL, strict=True)
    result = evaluate(truth=truth, predictions=write(tmp_path / "p.csv", ["file", "arousal"], *rows))
    assert result["n"] == 4 and list(result["ccc"]) == ["arousal"]


def test_an_ambiguous_name_is_refused(tmp_path: Path, student: Path, corpus: Path) -> None:
    (corpus / "b" / "one.wav").write_bytes((corpus / "a" / "one.wav").read_bytes())
    truth = write(tmp_path / "t.csv", ["file", "arousal"], ["one", 0.5])
    with pytest.raises(DistillError, match=r"t\.csv, one: ambiguous name: it may be a/one\.wav or b/one\.wav"):
        evaluate(truth=truth, student=student, audio=corpus)
    given = write(tmp_path / "p.csv", ["file", "arousal"], ["a/one.wav", 0.5], ["b/one.wav", 0.5])
    with pytest.raises(DistillError, match="ambiguous"):
        evaluate(truth=truth, predictions=given)


def test_two_predictions_for_one_clip_are_refused(truth: Path, tmp_path: Path) -> None:
    given = write(tmp_path / "p.csv", ["file", "arousal"], ["a/one.wav", 0.5], ["a/one.wav", 0.6])
    with pytest.raises(DistillError, match="2 predictions for this file; give start and end"):
        evaluate(truth=truth, predictions=given)


def test_segments_are_matched_by_their_times(tmp_path: Path) -> None:
    columns = ["file", "start", "end", "arousal"]
    truth = write(tmp_path / "t.csv", columns, *(["a.wav", at, at + 1, at / 10] for at in range(5)))
    given = write(tmp_path / "p.csv", columns, *(["a.wav", at + 0.001, at + 1, at / 10] for at in (3, 1, 2, 0)))
    result = evaluate(truth=truth, predictions=given)
    assert (result["n"], result["failed"]) == (4, 1)
    assert result["mae"]["arousal"] == pytest.approx(0)


def write_table(folder: Path, root: Path, axes: Sequence[str]) -> Path:
    rows = [
        table.Row(file, 0.0, 1.0, file, (level, None, 1 - level), (None,) * 3, 1, 1, {"speaker": f"0{number}"})
        for number, (file, level) in enumerate(zip(FILES, AROUSAL, strict=True))
    ]
    table.write_part(folder, "1", rows)
    table.write_info(folder, {"complete": True, "root": str(root), "axes": axes, "derived": []})
    return folder


def test_a_label_table_is_a_truth(tmp_path: Path, student: Path, corpus: Path) -> None:
    labels = write_table(tmp_path / "labels", corpus, ["arousal", "valence"])
    result = evaluate(truth=labels, student=student, by=["speaker"], output=tmp_path / "e.json")
    assert result["n"] == 4 and list(result["ccc"]) == ["arousal", "valence"]
    assert list(result["slices"]["speaker"]) == ["00", "01", "02", "03"]
    first = next(predict(corpus / "b" / "four.flac", student=student, window=1.0))
    rows = {row["file"]: row for row in read_csv(tmp_path / "e.predictions.csv")}
    assert float(rows["b/four.flac"]["arousal"]) == pytest.approx(first.arousal, abs=1e-6)


def test_a_label_table_may_be_the_predictions(tmp_path: Path, truth: Path, corpus: Path) -> None:
    labels = write_table(tmp_path / "labels", corpus, ["arousal", "valence"])
    result = evaluate(truth=truth, predictions=labels)
    assert result["n"] == 4 and result["mae"]["arousal"] == pytest.approx(0, abs=1e-6)


def test_only_the_chosen_rows_count(truth: Path, student: Path, corpus: Path) -> None:
    assert evaluate(truth=truth, student=student, audio=corpus, where={"sex": "m"})["n"] == 2


def test_a_clip_that_cannot_be_answered_is_counted_and_named(
    truth: Path, student: Path, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "a" / "one.wav").write_text("text")
    (corpus / "a" / "two.flac").unlink()
    result = evaluate(truth=truth, student=student, audio=corpus, output=tmp_path / "e.json")
    assert (result["n"], result["failed"]) == (2, 2)
    rows = read_csv(tmp_path / "e.failed.csv")
    assert [(row["file"], row["reason"].split(":")[0]) for row in rows] == [
        ("a/one.wav", "not audio that can be read"),
        ("a/two.flac", "no such file"),
    ]


def test_without_an_answer_there_is_no_result(truth: Path, student: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DistillError, match=r"none of its 4 clips could be answered \(no such file\)"):
        evaluate(truth=truth, student=student, audio=tmp_path / "empty", output=tmp_path / "e.json")
    with pytest.raises(DistillError, match="nowhere: no such folder"):
        evaluate(truth=truth, student=student, audio=tmp_path / "nowhere", output=tmp_path / "e.json")
    assert not (tmp_path / "e.json").exists()


@pytest.mark.parametrize("output", ["truth.csv", "folder.json", "answers.txt"])
def test_an_output_that_is_no_json_file_is_refused_before_the_work(
    truth: Path, student: Path, corpus: Path, tmp_path: Path, output: str
) -> None:
    (tmp_path / "folder.json").mkdir()
    before = truth.read_bytes()
    with pytest.raises(DistillError, match=r"must be a file that ends in \.json"):
        evaluate(truth=truth, student=student, audio=corpus, output=tmp_path / output)
    assert truth.read_bytes() == before


def test_sides_without_a_common_axis_are_refused(truth: Path, tmp_path: Path) -> None:
    given = write(tmp_path / "p.csv", ["file", "dominance"], *zip(FILES, AROUSAL, strict=True))
    with pytest.raises(DistillError, match="no axis in common"):
        evaluate(truth=truth, predictions=given)


@pytest.mark.parametrize(
    ("columns", "row", "reason"),
    [
        (["file", "anger"], ["a/one.wav", 1], "has none of the columns arousal, dominance, valence"),
        (["file", "arousal"], ["a/one.wav", "high"], "row 1, arousal: 'high' is no number"),
        (["clip", "arousal"], ["a/one.wav", 1], "the column 'file' is missing"),
    ],
)
def test_a_truth_that_is_none_is_refused(
    tmp_path: Path, student: Path, columns: list[str], row: list[Any], reason: str
) -> None:
    with pytest.raises(DistillError, match=reason):
        evaluate(truth=write(tmp_path / "t.csv", columns, row), student=student, audio=tmp_path)


def test_a_column_to_slice_by_must_be_there(truth: Path, student: Path, corpus: Path) -> None:
    with pytest.raises(DistillError, match="no column 'age' to slice by; it has file, arousal, valence, sex"):
        evaluate(truth=truth, student=student, audio=corpus, by=["age"])


def test_where_nobody_is_named_the_student_that_comes_is_asked(truth: Path, corpus: Path) -> None:
    named = evaluate(truth=truth, student="wav2small", audio=corpus)
    assert evaluate(truth=truth, audio=corpus) == named and named["n"] == 4


@pytest.mark.parametrize("given", [("student", "predictions"), ("teacher", "student"), ("teacher", "predictions")])
def test_one_of_student_teacher_and_predictions(truth: Path, student: Path, given: tuple[str, ...]) -> None:
    all_three = {"student": student, "predictions": truth, "teacher": "prosody"}
    with pytest.raises(DistillError, match="either --student"):
        evaluate(truth=truth, **{name: all_three[name] for name in given})


def test_the_command_prints_strict_json(distill: Command, truth: Path, student: Path, corpus: Path) -> None:
    command = ("evaluate", "--truth", truth, "--student", student, "--audio", corpus, "--slices", "sex")
    done = distill(*command, "--json")
    result = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert done.returncode == 0 and result["n"] == 4 and result["slices"]["sex"]["f"]["ccc"]["arousal"]["low"] is None
    shown = distill(*command).stdout
    assert shown.startswith("4 clips, 0 failed\narousal    CCC")


def test_a_teacher_is_compared_as_a_student_is(truth: Path, corpus: Path, quick: Any, tmp_path: Path) -> None:
    opened = []
    result = evaluate(
        truth=truth, teacher="taught", open_teacher=lambda name: opened.append(name) or quick, audio=corpus,
        by=["sex"], output=tmp_path / "e.json",
    )  # fmt: skip
    assert opened == ["taught"] and (result["n"], result["failed"]) == (4, 0)
    expected = ccc(np.array([quick.answer(read(corpus / file))[0] for file in FILES]), np.array(AROUSAL))
    assert result["ccc"]["arousal"]["value"] == pytest.approx(float(expected), abs=1e-6)
    assert {sex: part["n"] for sex, part in result["slices"]["sex"].items()} == {"f": 2, "m": 2}
    assert [row["file"] for row in read_csv(tmp_path / "e.predictions.csv")] == list(FILES)


def test_the_command_opens_a_teacher_by_its_name(distill: Command, truth: Path, corpus: Path) -> None:
    done = distill("evaluate", "--truth", truth, "--teacher", "prosody", "--audio", corpus, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["n"] == 4
    done = distill("evaluate", "--truth", truth, "--teacher", "nobody", "--audio", corpus)
    assert done.returncode == 1 and done.stderr.startswith("distill: nobody: no such teacher")


def test_snr_is_estimated_where_the_truth_does_not_know_it(
    truth: Path, student: Path, corpus: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for file, noise in zip(FILES, (1e-5, 1e-5, 0.05, 0.05), strict=True):
        clip = read(corpus / file)
        clip[: len(clip) // 3] = 0
        soundfile.write(corpus / file, clip + noise * rng.standard_normal(len(clip)), 16_000)
    given = write(tmp_path / "p.csv", ["file", "arousal"], *zip(FILES, AROUSAL, strict=True))
    for asked in ({"student": student}, {"predictions": given}):
        result = evaluate(truth=truth, audio=corpus, by=["snr"], **asked)
        assert sum(part["n"] for part in result["slices"]["snr"].values()) == 4
        assert result["slices"]["snr"][">20 dB"]["n"] == 2


def test_a_clip_is_decoded_once_for_its_answer_and_its_slice(
    truth: Path, student: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    monkeypatch.setattr(answering, "read", lambda path, span: decoded.append(path.name) or read(path, span))
    result = evaluate(truth=truth, student=student, audio=corpus, by=["snr", "sex"])
    assert sorted(decoded) == sorted(Path(file).name for file in FILES) and set(result["slices"]) == {"snr", "sex"}


def test_a_column_called_snr_is_taken_as_it_is(tmp_path: Path) -> None:
    rows = zip(FILES, AROUSAL, ("low", "low", "high", "high"), strict=True)
    truth = write(tmp_path / "t.csv", ["file", "arousal", "snr"], *rows)
    assert list(evaluate(truth=truth, predictions=truth, by=["snr"])["slices"]["snr"]) == ["high", "low"]


def test_robustness_needs_a_model_and_noise_needs_robustness(truth: Path, student: Path, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="--robustness asks anew"):
        evaluate(truth=truth, predictions=truth, robustness=True)
    with pytest.raises(DistillError, match="--noise and --rir go with --robustness"):
        evaluate(truth=truth, student=student, noise=tmp_path)


def test_slices_are_printed(distill: Command, truth: Path, student: Path, corpus: Path) -> None:
    shown = distill("evaluate", "--truth", truth, "--student", student, "--audio", corpus, "--slices", "sex").stdout
    assert "\n\nsex f: 2 clips\narousal    CCC" in shown and "\n\nsex m: 2 clips\n" in shown


def test_a_student_agrees_with_people_only_as_far_as_it_listens(shared: Path, student: Path) -> None:
    """A stand-in without training: what is tested is the way through real ratings."""
    ratings = shared / "emodb" / "ratings.csv"
    result = evaluate(
        truth=ratings, student=student, audio=shared / "emodb" / "two-seconds", where={"speaker": "12"}, by=["sex"]
    )
    assert result["n"] > 20 and list(result["slices"]["sex"]) == ["male"]


def test_who_answered_and_what_it_was_compared_with_is_said(truth: Path, student: Path, corpus: Path) -> None:
    result = evaluate(truth=truth, student=student, audio=corpus, where={"sex": "f"})
    assert result["asked"] == {"student": "tiny", "precision": "float32", "sha256": sha256_of(student)}
    assert result["truth"] == {"file": str(truth), "where": {"sex": "f"}, "audio": str(corpus), "teacher": None}


def loud_and_rated(folder: Path, levels: dict[str, float], rated: Callable[[float], float], speakers: str) -> Path:
    """Recordings of these peaks, and ratings that follow from them."""
    lines = ["file,arousal,speaker"]
    for (name, peak), speaker in zip(levels.items(), speakers, strict=True):
        soundfile.write(folder / f"{name}.wav", np.full(16000, peak, np.float32), 16000, subtype="FLOAT")
        lines.append(f"{name}.wav,{rated(20 * np.log10(peak))},{speaker}")
    (folder / "rated.csv").write_text("\n".join(lines))
    return folder / "rated.csv"


LEVELS = {"a": 0.001, "b": 0.01, "c": 0.1, "d": 0.02, "e": 0.2, "f": 0.5}


def test_loudness_alone_is_a_line_through_the_other_speakers(tmp_path: Path, student: Path) -> None:
    rated = loud_and_rated(tmp_path, LEVELS, lambda db: 0.9 + 0.01 * db, "mmmfff")
    result = evaluate(truth=rated, student=student, loudness=True)
    found = result["loudness"]
    assert found["left_out"] == "speaker" and found["n"] == 6 and list(found["ccc"]) == ["arousal"]
    assert found["ccc"]["arousal"]["value"] == pytest.approx(1.0, abs=1e-6)
    better = result["ccc"]["arousal"]["value"] - found["ccc"]["arousal"]["value"]
    assert found["difference"]["arousal"]["value"] == pytest.approx(better)


def test_loudness_does_not_learn_from_those_it_answers(tmp_path: Path, student: Path) -> None:
    """Louder is more aroused in one speaker and less in the other: what it learned from one is wrong of the other."""
    lines = iter((0.01, 0.01, 0.01, -0.01, -0.01, -0.01))
    rated = loud_and_rated(tmp_path, LEVELS, lambda db: 0.5 + next(lines) * db, "mmmfff")
    assert evaluate(truth=rated, student=student, loudness=True)["loudness"]["ccc"]["arousal"]["value"] < 0


def test_of_one_speaker_each_clip_is_left_out(tmp_path: Path, student: Path) -> None:
    rated = loud_and_rated(tmp_path, LEVELS, lambda db: 0.9 + 0.01 * db, "mmmmmm")
    found = evaluate(truth=rated, student=student, loudness=True)["loudness"]
    assert found["left_out"] == "clip" and found["ccc"]["arousal"]["value"] == pytest.approx(1.0, abs=1e-6)


def test_written_answers_are_compared_with_loudness_too(tmp_path: Path, student: Path) -> None:
    rated = loud_and_rated(tmp_path, LEVELS, lambda db: 0.9 + 0.01 * db, "mmmfff")
    asked = evaluate(truth=rated, student=student, loudness=True, by=["snr"], output=tmp_path / "e.json")
    read = evaluate(truth=rated, predictions=tmp_path / "e.predictions.csv", loudness=True, by=["snr"])
    assert read["loudness"]["ccc"] == asked["loudness"]["ccc"] and list(read["slices"]) == ["snr"]
    assert read["asked"] == {"predictions": str(tmp_path / "e.predictions.csv"), "teacher": None}


def test_the_command_says_how_much_better_than_loudness(distill: Command, tmp_path: Path, student: Path) -> None:
    rated = loud_and_rated(tmp_path, LEVELS, lambda db: 0.9 + 0.01 * db, "mmmfff")
    done = distill("evaluate", "--truth", rated, "--student", student, "--loudness")
    assert "against loudness alone on 6 clips\narousal    CCC of loudness 1.000" in done.stdout

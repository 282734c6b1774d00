"""train-student as it is typed: with tables, or with a teacher that labels the audio first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
import pytest

from distill import runs, table
from distill.cli import door
from distill.errors import DistillError, Refused
from distill.learning import loop
from distill.parts import part_files
from distill.synthesis import write_corpus
from students.commands import LABELS

QUICK = ("--batch-size", "4", "--workers", "0", "--device", "cpu", "--precision", "float32", "--epochs", "2")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight short recordings."""
    return write_corpus(tmp_path_factory.mktemp("audio"), speakers=4, clips=2, seconds=(1.2, 1.6)).parent


def distilled(*arguments: Any) -> Any:
    return door.main(args=["train-student", *map(str, arguments)], prog_name="distill", standalone_mode=False)


def from_audio(audio: Path, output: Path, *more: Any) -> Any:
    return distilled("--teacher", "prosody", "--audio", audio, "-o", output, *QUICK, *more)


def die(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def parts(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in part_files(run / LABELS)}


def test_audio_and_a_teacher_are_enough(audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what two commands make: training on the table by its name finds its run finished."""
    how = ("--online", "--data-licence", "CC0-1.0", "--window", "1")
    result = from_audio(audio, tmp_path / "run", *how)
    labels = table.read(tmp_path / "run" / LABELS)
    assert result["teacher"] == "prosody" and result["epochs"] == 2 and len(labels) > 8
    assert (labels.info["arguments"]["window"], labels.info["audio_licence"]) == (1.0, "CC0-1.0")
    assert runs.read_config(tmp_path / "run")["lineage"][1]["data_licence"] == "CC0-1.0"
    distilled("--labels", tmp_path / "run" / LABELS, "-o", tmp_path / "run", "--online", *QUICK)
    assert from_audio(audio, tmp_path / "run", *how) == runs.read_result(tmp_path / "run")
    assert capsys.readouterr().err.count("already trained") == 2


def test_people_are_a_teacher_by_the_label_file_of_a_corpus(audio: Path, tmp_path: Path) -> None:
    """As MSP-Podcast is handed out; only its rows for training are learned from."""
    corpus = tmp_path / "corpus"
    (corpus / "Audios").mkdir(parents=True)
    for path in audio.rglob("*.flac"):
        shutil.copy(path, corpus / "Audios" / f"{path.parent.name}-{path.name}")
    files = sorted(path.name for path in (corpus / "Audios").iterdir())
    rows = [f"{name},N,{1 + number % 7},{7 - number % 7},4.{number},{name[:10]},Male,{'Train' if number else 'Test1'}"
            for number, name in enumerate(files)]  # fmt: skip
    (corpus / "Labels").mkdir()
    header = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    (corpus / "Labels" / "labels_consensus.csv").write_text("\n".join([header, *rows]) + "\n")
    result = distilled(
        "--teacher", "ratings", "--audio", corpus, "--where", "split=Train", "-o", tmp_path / "run", *QUICK
    )
    labels = table.read(tmp_path / "run" / LABELS)
    assert len(labels) == len(files) - 1 and set(labels.column("split")) == {"Train"}
    assert labels.info["axes"] == ["arousal", "dominance", "valence"] and result["teacher"] == "ratings"


def test_killed_between_the_stages_the_same_command_goes_on(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched, pytest.raises(click.Abort):
        patched.setattr("students.training.train_student", die)
        from_audio(audio, tmp_path / "run")
    labelled = parts(tmp_path / "run")
    assert labelled and not (tmp_path / "run" / runs.CONFIG).exists()
    assert from_audio(audio, tmp_path / "run")["n"] > 0
    assert parts(tmp_path / "run") == labelled
    assert "0 segments labelled, 8 already done, 0 failed" in capsys.readouterr().err


def test_killed_while_it_trains_the_same_command_goes_on(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save = loop._save
    with monkeypatch.context() as patched, pytest.raises(click.Abort):
        patched.setattr(loop, "_save", lambda *state: die(save(*state)))
        from_audio(audio / "manifest.csv", tmp_path / "run")
    labelled = parts(tmp_path / "run")
    result = from_audio(audio / "manifest.csv", tmp_path / "run")
    assert result["epochs"] == 2 and result["split"]["by"] == "speaker"
    assert "going on after epoch 1" in capsys.readouterr().err and parts(tmp_path / "run") == labelled
    with pytest.raises(Refused, match="was begun with seed 0, now it is 1"):
        from_audio(audio / "manifest.csv", tmp_path / "run", "--seed", 1)


def test_audio_that_came_later_is_another_run(audio: Path, tmp_path: Path) -> None:
    grown = shutil.copytree(audio, tmp_path / "audio")
    (grown / "speaker-04" / "clip-002.flac").rename(tmp_path / "later.flac")
    from_audio(grown, tmp_path / "run")
    (tmp_path / "later.flac").rename(grown / "later.flac")
    with pytest.raises(Refused, match="was begun with labels_sha256"):
        from_audio(grown, tmp_path / "run")


def test_a_licence_that_is_too_strict_is_refused_before_anything(audio: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"the recordings \(--data-licence\): CC-BY-NC-4.0 is non-commercial"):
        from_audio(audio, tmp_path / "run", "--require-licence", "permissive", "--data-licence", "CC-BY-NC-4.0")
    assert not (tmp_path / "run").exists()


def test_an_unknown_student_is_refused_before_the_labelling(audio: Path, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="no such student"):
        from_audio(audio, tmp_path / "run", "--arch", "wav3small")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("--labels a --teacher prosody --audio b", "either --labels is needed, or --teacher with --audio; not both"),
        ("", "either --labels is needed, or --teacher"),
        ("--teacher prosody", "--teacher needs --audio: a folder, a manifest or tars"),
        ("--labels a --window 2", "--window goes with --teacher"),
        ("--labels a --data-licence MIT", "--data-licence goes with --teacher"),
        ("--labels a --where split=Train", "--where goes with --teacher"),
        ("--teacher prosody --audio {tmp}", "lies in --audio .*: the run's own clips would be labelled"),
        (
            "--teacher prosody --audio b --require-licence permissive",
            "--require-licence needs --data-licence: nobody has",
        ),
        ("--teacher prosody --audio b --match-embedding 1", "--match-embedding needs --online, or a table"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, given: str, reason: str) -> None:
    with pytest.raises(click.UsageError, match=reason) as refused:
        distilled(*given.format(tmp=tmp_path).split(), "-o", tmp_path / "run")
    assert refused.value.ctx is not None and refused.value.ctx.command_path == "distill train-student"
    assert not (tmp_path / "run").exists()

"""Labelling: every segment ends as a row or as a named failure, once, however often and with how many workers."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill import table
from distill.annotation import Annotation
from distill.audio import SAMPLING_RATE, read
from distill.errors import DistillError, Refused
from distill.files import sole_writer
from distill.synthesis import write_corpus
from teacher import batches
from teacher.catalogue import open_teacher
from teacher.labelling import label
from teacher.prosody import BUNDLED

ROOT = Path(__file__).parents[2]

Tone = Callable[..., np.ndarray]
Command = Callable[..., Any]

#: The one teacher that needs no hub.
PROSODY = ("--teacher", "prosody")

KEYS = ["labelled", "skipped", "failed", "audio_seconds", "wall_seconds", "output"]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of forty short clips of four voices: two batches."""
    return write_corpus(tmp_path_factory.mktemp("spoken"), speakers=4, clips=10, seconds=(0.5, 0.9))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return tmp_path / "labels"


def counts(result: dict[str, Any]) -> tuple[int, int, int]:
    return result["labelled"], result["skipped"], result["failed"]


def failures(labels: Path) -> dict[str, str]:
    with (labels / "failed.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
        return {row["file"]: row["reason"] for row in csv.DictReader(handle)}


def change(path: Path, samples: np.ndarray) -> None:
    """Write other audio, at a later time."""
    before = path.stat().st_mtime_ns
    soundfile.write(path, samples, SAMPLING_RATE)
    os.utime(path, ns=(before, before + 1_000_000_000))


# What it makes ---------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_table(corpus: Path, labels: Path, quick: Any) -> None:
    result = label(corpus, output=labels, teacher="taught", audio_licence="CC0-1.0", jobs=1)
    assert list(result) == KEYS and counts(result) == (4, 0, 0)
    assert result["audio_seconds"] == pytest.approx(7.0) and result["wall_seconds"] > 0 and result["output"] == labels
    read = table.read(labels)
    assert read.column("file") == ["a/one.wav", "a/two.flac", "b/four.flac", "b/three.wav"]
    np.testing.assert_allclose(read.adv[:, 1], [0.1, 0.3, 0.7, 0.5], atol=0.01)  # the peak, which answers dominance
    assert read.root == corpus.resolve() and read.info["counts"] == {"segments": 4, "rows": 4, "failed": 0}
    assert read.info["teacher"]["name"] == "quick" and read.info["axes"] == ["arousal", "dominance", "valence"]
    licences = ("licence", "data_licence", "audio_licence")
    assert [read.info[key] for key in licences] == ["MIT", "CC0-1.0", "CC0-1.0"]
    assert not (labels / "failed.csv").exists() and not list(labels.glob("*partial*"))


def test_a_manifest_brings_its_columns_and_its_times(corpus: Path, labels: Path, quick: Any) -> None:
    (corpus / "m.csv").write_text("file,start,end,speaker,arousal\nfour,0.5,1.25,03,0.9\none,,,08,\n")
    label(corpus / "m.csv", output=labels, teacher="taught", jobs=1)
    read = table.read(labels)
    segments = list(zip(*(read.column(name) for name in table.KEY_COLUMNS), strict=True))
    assert segments == [("a/one.wav", 0, 1), ("b/four.flac", 0.5, 1.25)]
    assert read.column("speaker") == ["08", "03"] and read.column("given_arousal") == ["", "0.9"]
    assert sorted(quick.heard) == [12_000, 16_000]


def test_long_recordings_are_cut(corpus: Path, labels: Path, quick: Any) -> None:
    result = label(corpus / "b" / "four.flac", output=labels, teacher="taught", window=1.0, hop=0.5, jobs=1)
    assert counts(result) == (4, 0, 0) and table.read(labels).column("start") == [0, 0.5, 1, 1.5]


def test_only_the_chosen_rows_are_labelled(spoken: Path, labels: Path, quick: Any) -> None:
    where = {"speaker": "speaker-01|speaker-03"}
    assert counts(label(spoken, output=labels, teacher="taught", where=where, jobs=1)) == (20, 0, 0)
    assert set(table.read(labels).column("speaker")) == {"speaker-01", "speaker-03"}


def test_two_workers_answer_as_one(spoken: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        assert counts(label(spoken, output=tmp_path / f"{jobs}", teacher="prosody", jobs=jobs)) == (40, 0, 0)
    one, two = (table.read(tmp_path / f"{jobs}") for jobs in (1, 2))
    assert one.rows.equals(two.rows)
    assert one.info["derived"] == ["dominance"]


def test_the_same_audio_is_computed_once_and_has_a_row_a_name(corpus: Path, labels: Path, quick: Any) -> None:
    for copy in ("b/copy.wav", "c/copy.wav"):
        (corpus / copy).parent.mkdir(exist_ok=True)
        shutil.copy(corpus / "a" / "one.wav", corpus / copy)
    pcm = soundfile.read(corpus / "a" / "one.wav", dtype="int16")[0]
    soundfile.write(corpus / "other.flac", pcm, SAMPLING_RATE)
    assert counts(label(corpus, output=labels, teacher="taught", jobs=1)) == (7, 0, 0)
    assert sorted(quick.heard) == [16_000, 24_000, 32_000, 40_000]
    read = table.read(labels)
    rows = {file: (sha, adv) for file, sha, adv in zip(*map(read.column, ("file", "sha256", "arousal")), strict=True)}
    assert rows["a/one.wav"] == rows["b/copy.wav"] == rows["c/copy.wav"] == rows["other.flac"]
    assert len(set(rows.values())) == 4


def test_copies_beyond_a_batch_stand_in_one(tmp_path: Path, labels: Path, tone: Tone, quick: Any) -> None:
    for number in range(2 * batches.BATCH + 5):
        soundfile.write(tmp_path / f"{number:03d}.wav", tone(0.5, 200 if number % 2 else 300), SAMPLING_RATE)
    result = label(tmp_path, output=labels, teacher="taught", jobs=1)
    assert result["labelled"] == 2 * batches.BATCH + 5 and quick.heard == [8000, 8000]


def test_clips_that_are_alike_only_in_the_middle_are_no_copies(tmp_path: Path, labels: Path, quick: Any) -> None:
    count = 2 * batches.BATCH + 5
    for number in range(count):
        clip = np.zeros(16_000, np.float32)
        clip[:100] = (number + 1) / 100
        soundfile.write(tmp_path / f"{number:03d}.wav", clip, SAMPLING_RATE)
    asked: list[int] = []
    answer = quick.annotate
    quick.annotate = lambda signals, *rest: asked.append(len(signals)) or answer(signals, *rest)
    assert label(tmp_path, output=labels, teacher="taught", jobs=1)["labelled"] == count
    assert sum(asked) == count and max(asked) == batches.BATCH


def test_a_slow_teacher_is_asked_for_as_few_clips_as_it_says(corpus: Path, labels: Path, quick: Any) -> None:
    """What it has answered is then on disk before the next is begun."""
    quick.together = 1
    asked: list[int] = []
    answer = quick.annotate
    quick.annotate = lambda signals, *rest: asked.append(len(signals)) or answer(signals, *rest)
    label(corpus, output=labels, teacher="taught", jobs=1)
    assert asked == [1] * 4


# A second run ----------------------------------------------------------------------------------------------------


def test_a_second_run_skips_all_without_decoding(
    corpus: Path, labels: Path, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(corpus, output=labels, teacher="taught", jobs=1)
    before = {path.name: path.read_bytes() for path in labels.glob("part-*")}
    monkeypatch.setattr(batches, "read", lambda *_: pytest.fail("a recording was decoded again"))
    result = label(corpus, output=labels, teacher="taught", jobs=1)
    assert counts(result) == (0, 4, 0) and result["audio_seconds"] == 0
    assert {path.name: path.read_bytes() for path in labels.glob("part-*")} == before
    assert len(table.read(labels)) == 4


def test_an_added_file_is_the_only_one_labelled(corpus: Path, labels: Path, tone: Tone, quick: Any) -> None:
    label(corpus, output=labels, teacher="taught", jobs=1)
    soundfile.write(corpus / "new.wav", tone(0.75), SAMPLING_RATE)
    quick.heard.clear()
    assert counts(label(corpus, output=labels, teacher="taught", jobs=1)) == (1, 4, 0)
    assert quick.heard == [12_000] and len(table.read(labels)) == 5


def test_a_changed_file_is_refused(corpus: Path, labels: Path, tone: Tone, quick: Any) -> None:
    label(corpus, output=labels, teacher="taught", jobs=1)
    rows, told = table.read(labels).rows, (labels / "labels.json").read_bytes()
    change(corpus / "a" / "one.wav", tone(1.0, 300))  # of the same size
    with pytest.raises(Refused, match=r"a/one\.wav has changed since it was labelled \(1 files in all\); --relabel"):
        label(corpus, output=labels, teacher="taught", jobs=1)
    assert table.read(labels).rows.equals(rows)
    assert (labels / "labels.json").read_bytes() == told  # a refused run leaves a finished table finished


def test_a_recording_of_another_date_with_the_same_audio_holds(
    corpus: Path, labels: Path, quick: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a corpus was copied, or cloned again."""
    label(corpus, output=labels, teacher="taught", jobs=1)
    rows = table.read(labels).rows
    for path in corpus.rglob("*.*"):
        os.utime(path, ns=(1, 1))
    signal, rate = soundfile.read(corpus / "b" / "four.flac", dtype="int16")
    soundfile.write(corpus / "b" / "four.flac", signal, rate, compression_level=0)  # other bytes, too
    quick.heard.clear()
    assert counts(label(corpus, output=labels, teacher="taught", jobs=1)) == (0, 4, 0) and not quick.heard
    assert "4 labelled segments lie in files of another date, with the same audio: they hold" in capsys.readouterr().err
    assert table.read(labels).rows.equals(rows)


def test_what_a_manifest_says_anew_is_refused_and_replaced(
    corpus: Path, labels: Path, quick: Any, tmp_path: Path
) -> None:
    manifest = tmp_path / "manifest.csv"
    for speaker, relabel in (("03", False), ("08", True)):
        manifest.write_text(f"file,speaker\na/one.wav,{speaker}\n")
        if relabel:
            with pytest.raises(Refused, match="has changed since"):
                label(manifest, audio=corpus, output=labels, teacher="taught", jobs=1)
        label(manifest, audio=corpus, output=labels, teacher="taught", relabel=relabel, jobs=1)
        assert table.read(labels).column("speaker") == [speaker]


def test_another_licence_of_the_recordings_is_refused(corpus: Path, labels: Path, quick: Any) -> None:
    label(corpus, output=labels, teacher="taught", audio_licence="CC0-1.0", jobs=1)
    with pytest.raises(Refused, match=r"labelled with data-licence 'CC0-1\.0'"):
        label(corpus, output=labels, teacher="taught", jobs=1)


def test_relabel_replaces_the_rows_of_changed_files_alone(corpus: Path, labels: Path, tone: Tone, quick: Any) -> None:
    label(corpus, output=labels, teacher="taught", window=1.0, jobs=1)
    before = table.read(labels)
    change(corpus / "b" / "four.flac", tone(1.2, 441, peak=0.9))
    quick.heard.clear()
    result = label(corpus, output=labels, teacher="taught", window=1.0, relabel=True, jobs=1)
    after = table.read(labels)
    assert counts(result) == (2, 5, 0) and sorted(quick.heard) == [16_000, 16_000]
    of_four = [row for row in after.rows.to_pylist() if row["file"] == "b/four.flac"]
    assert [row["start"] for row in of_four] == [0.0, pytest.approx(0.2)]
    assert all(row["dominance"] == pytest.approx(0.9, abs=0.01) for row in of_four)
    others = [[row for row in read.rows.to_pylist() if row["file"] != "b/four.flac"] for read in (before, after)]
    assert others[0] == others[1] and len(others[0]) == 5


def test_a_failed_file_is_tried_again(corpus: Path, labels: Path, tone: Tone, quick: Any) -> None:
    (corpus / "bad.wav").write_text("text")
    assert counts(label(corpus, output=labels, teacher="taught", jobs=1)) == (4, 0, 1)
    soundfile.write(corpus / "bad.wav", tone(), SAMPLING_RATE)
    assert counts(label(corpus, output=labels, teacher="taught", jobs=1)) == (1, 4, 0)
    assert not (labels / "failed.csv").exists()


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"window": 2.0}, "window"), ({"hop": 1.0}, "hop"), ({"teacher": "prosody"}, "teacher")],
)
def test_other_arguments_are_refused_by_name(
    corpus: Path, labels: Path, quick: Any, changed: dict[str, Any], name: str
) -> None:
    label(corpus, output=labels, teacher="taught", jobs=1)
    with pytest.raises(Refused, match=f"labels: was labelled with {name} .*, now it is .*; choose another folder"):
        label(corpus, output=labels, jobs=1, **{"teacher": "taught", **changed})
    assert len(table.read(labels)) == 4


def test_another_source_is_refused(corpus: Path, labels: Path, quick: Any) -> None:
    label(corpus, output=labels, teacher="taught", jobs=1)
    with pytest.raises(Refused, match="was labelled with source"):
        label(corpus / "a", output=labels, teacher="taught", jobs=1)


def test_parts_of_a_table_without_its_json_are_refused(corpus: Path, labels: Path, quick: Any) -> None:
    label(corpus, output=labels, teacher="taught", jobs=1)
    (labels / "labels.json").unlink()
    with pytest.raises(Refused, match=r"holds parts of a label table without its labels\.json"):
        label(corpus, output=labels, teacher="taught", jobs=1)


def test_a_second_writer_is_refused(corpus: Path, labels: Path, quick: Any) -> None:
    with sole_writer(labels), pytest.raises(Refused, match="another run is writing"):
        label(corpus, output=labels, teacher="taught", jobs=1)


@pytest.mark.parametrize("options", [{"window": 0.1}, {"window": 31.0}, {"hop": 0.0}, {"window": 5.0, "hop": 6.0}])
def test_windows_that_the_teacher_does_not_take_are_refused(
    corpus: Path, labels: Path, quick: Any, options: dict[str, float]
) -> None:
    with pytest.raises(DistillError, match=r"--(window|hop)"):
        label(corpus, output=labels, teacher="taught", jobs=1, **options)
    assert not labels.exists()


# What fails ------------------------------------------------------------------------------------------------------


def test_every_failure_is_counted_and_named(corpus: Path, labels: Path, tone: Tone, quick: Any) -> None:
    nan = tone()
    nan[100] = np.nan
    soundfile.write(corpus / "nan.wav", nan, SAMPLING_RATE, "FLOAT")
    soundfile.write(corpus / "short.wav", tone(0.05), SAMPLING_RATE)
    soundfile.write(corpus / "silent\n.wav", np.zeros(16000), SAMPLING_RATE)
    (corpus / "empty.wav").touch()
    (corpus / "text.wav").write_text("text")
    (corpus / "gone.wav").symlink_to("nowhere.wav")
    other = os.fsdecode(b"caf\xe9.wav")
    shutil.copy(corpus / "a" / "one.wav", corpus / other)
    with (corpus / "a" / "one.wav").open("r+b") as handle:
        handle.truncate(9000)
    result = label(corpus, output=labels, teacher="taught", jobs=1)
    assert counts(result) == (3, 0, 8)
    named = failures(labels)
    assert {file: reason.split(":")[0] for file, reason in named.items()} == {
        "nan.wav": "holds NaN or Inf samples", "short.wav": "too short", "silent\n.wav": "silent",
        "empty.wav": "empty file", "text.wav": "not audio that can be read", "gone.wav": "no such file",
        other: "its name is not valid UTF-8; rename it", "a/one.wav": "broken off",
    }  # fmt: skip
    assert len(table.read(labels)) == 3


def test_a_file_that_vanishes_meanwhile_is_counted(
    corpus: Path, labels: Path, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = batches.read

    def vanishing(path: Path, *span: Any) -> np.ndarray:
        if path.name == "two.flac":
            path.unlink()
        return read(path, *span)

    monkeypatch.setattr(batches, "read", vanishing)
    assert counts(label(corpus, output=labels, teacher="taught", jobs=1)) == (3, 0, 1)
    assert failures(labels) == {"a/two.flac": "no such file"}


def test_a_teacher_that_answers_nan_fails_that_clip_by_name(
    corpus: Path, labels: Path, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = quick.answer
    monkeypatch.setattr(quick, "answer", lambda clip: [0.5, np.nan, 0.5] if len(clip) == 24_000 else answer(clip))
    assert counts(label(corpus, output=labels, teacher="taught", jobs=1)) == (3, 0, 1)
    assert failures(labels) == {"a/two.flac": "the teacher quick answered NaN"}


def test_where_nothing_was_labelled_there_is_no_table(tmp_path: Path, labels: Path, quick: Any) -> None:
    (tmp_path / "text.wav").write_text("text")
    for _ in range(2):
        with pytest.raises(DistillError, match=r"all 1 segments failed \(text.wav: not audio .*failed\.csv names each"):
            label(tmp_path, output=labels, teacher="taught", jobs=1)
    with pytest.raises(DistillError, match="unfinished"):
        table.read(labels)


def test_a_full_disk_is_one_line_and_leaves_no_partial_part(distill: Command, spoken: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        done = distill(
            "label", spoken, "-o", disk / "labels", *PROSODY, "--window", "0.3", "--hop", "0.04", "--jobs", "1"
        )
        assert done.returncode == 1 and not done.stdout
        assert done.stderr.startswith("distill: ") and "No space left on device" in done.stderr
        assert done.stderr.count("\n") == 1
        assert not [path for path in (disk / "labels").iterdir() if "partial" in path.name]
        with pytest.raises(DistillError):
            table.read(disk / "labels")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("name", ["odyssey", "audeering", "vox-profile", "mean"])
def test_a_published_checkpoint_labels_with_its_embedding(
    published: Mapping[str, Path], tmp_path: Path, tone: Tone, labels: Path, name: str
) -> None:
    for number, seconds in enumerate((3.5, 4.0)):
        soundfile.write(tmp_path / f"{number}.wav", tone(seconds, pitch=150 + 90 * number), SAMPLING_RATE)
    names = ("odyssey", "audeering") if name == "mean" else (name,)
    teacher = ("mean:" if name == "mean" else "") + ",".join(str(published[one]) for one in names)
    assert counts(label(tmp_path, output=labels, teacher=teacher, device="cpu", embeddings=True)) == (2, 0, 0)
    made = table.read(labels)
    members = [open_teacher(str(published[one]), "cpu") for one in names]
    for row, file in enumerate(made.column("file")):
        heard = read(tmp_path / file)
        given = [member.annotate(heard[None], [len(heard)], SAMPLING_RATE) for member in members]
        np.testing.assert_allclose(made.adv[row], np.mean([one.adv[0] for one in given], axis=0), atol=1e-5)
        embedding = np.concatenate([one.embedding[0] for one in given])
        np.testing.assert_allclose(made.column("embedding")[row], embedding, rtol=1e-3, atol=1e-3)
    assert str(made.rows.schema.field("embedding").type.value_type) == "halffloat"
    assert made.info["teacher"]["revision"] and made.info["licence"] == "unknown"
    assert (None not in made.column("spread_arousal")) == (name == "mean")


def test_embeddings_are_written_for_all_rows_or_none(corpus: Path, labels: Path, quick: Any) -> None:
    label(corpus, output=labels, teacher="prosody", jobs=1)
    assert "embedding" not in table.read(labels).rows.column_names
    with pytest.raises(Refused, match="embeddings False, now it is True"):
        label(corpus, output=labels, teacher="prosody", embeddings=True, jobs=1)
    with pytest.raises(DistillError, match="quick has no embedding"):
        label(corpus, output=labels.parent / "other", teacher="taught", embeddings=True, jobs=1)


def test_an_embedding_beyond_half_precision_is_a_failure(corpus: Path, labels: Path, teach: Any, quick: Any) -> None:
    class Large(type(quick)):  # type: ignore[misc]
        def annotate(self, *arguments: Any) -> Any:
            given = super().annotate(*arguments)
            return Annotation(given.adv, embedding=np.where(given.adv[:, 1:2] > 0.4, 1e6, 1.0))

    result = label(corpus, output=labels, teacher=teach(Large()), embeddings=True, jobs=1)
    assert 0 < result["failed"] < 4 and set(failures(labels).values()) == {
        "the embedding of quick does not fit into half precision"
    }


@pytest.mark.parametrize(
    ("teacher", "recordings", "word"),
    [("odyssey", "CC0-1.0", "what odyssey was trained on: MSP-Podcast"),
     ("audeering", "CC0-1.0", "weights of audeering"), ("mean:odyssey,prosody", "CC0-1.0", "MSP-Podcast"),
     ("somebody/unheard-of", "CC0-1.0", "unknown is unknown"),
     ("prosody", "unknown", r"the recordings \(--data-licence\): unknown")],
)  # fmt: skip
def test_a_licence_that_is_too_strict_is_refused_before_any_work(
    corpus: Path, labels: Path, monkeypatch: pytest.MonkeyPatch, teacher: str, recordings: str, word: str
) -> None:
    monkeypatch.setattr("teacher.asked.open_teacher", lambda *_: pytest.fail("the teacher was opened"))
    with pytest.raises(Refused, match=word):
        label(corpus, output=labels, teacher=teacher, audio_licence=recordings, require_licence="permissive")
    assert not labels.exists()


def test_a_licence_that_is_free_enough_is_let_through(corpus: Path, labels: Path) -> None:
    options = {"teacher": "prosody", "audio_licence": "CC BY 4.0", "jobs": 1}
    assert label(corpus, output=labels, require_licence="permissive", **options)["labelled"] == 4


def test_a_teacher_that_uses_all_cores_gets_one_process(corpus: Path, labels: Path, quick: Any) -> None:
    """Each process would load its own copy; so nothing but this one may have been asked."""
    quick.card = replace(quick.card, own_threads=True)
    label(corpus, output=labels, teacher="taught")
    assert len(quick.heard) == 4


def test_a_teacher_that_changed_under_its_name_is_opened_anew(corpus: Path, labels: Path, teach: Any) -> None:
    """Nothing of a run is left in the process."""
    folder = corpus.parent / "teacher"
    shutil.copytree(BUNDLED, folder)
    label(corpus, output=labels, teacher=str(folder), jobs=1)
    card = json.loads((folder / "prosody.json").read_text())
    card["card"]["revision"] = "other"
    (folder / "prosody.json").write_text(json.dumps(card))
    with pytest.raises(DistillError, match="describes revision other"):
        label(corpus, output=labels, teacher=str(folder), jobs=1)


def test_a_corrected_command_takes_the_place_of_one_that_failed_at_once(corpus: Path, labels: Path, quick: Any) -> None:
    with pytest.raises(DistillError, match="without --embeddings"):
        label(corpus, output=labels, teacher="taught", embeddings=True, jobs=1)
    assert counts(label(corpus, output=labels, teacher="taught", jobs=1)) == (4, 0, 0)
    assert table.read(labels).info["arguments"]["embeddings"] is False


@pytest.mark.parametrize("damage", ["{}", "[]", "null", '{"arguments": {}}', '{"arguments": null, "root": 1}'])
def test_a_damaged_description_of_a_table_is_one_line(corpus: Path, labels: Path, quick: Any, damage: str) -> None:
    label(corpus, output=labels, teacher="taught", jobs=1)
    (labels / "labels.json").write_text(damage)
    with pytest.raises(DistillError, match=r"labels.json") as caught:
        label(corpus, output=labels, teacher="taught", jobs=1)
    assert "\n" not in str(caught.value)


def test_a_damaged_part_is_named(corpus: Path, labels: Path, quick: Any) -> None:
    label(corpus, output=labels, teacher="taught", jobs=1)
    (part,) = labels.glob("part-*")
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(DistillError, match=f"{part.name}: the part cannot be read"):
        label(corpus, output=labels, teacher="taught", jobs=1)


def test_a_segment_that_left_the_manifest_is_told(
    corpus: Path, labels: Path, quick: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = corpus / "m.csv"
    manifest.write_text("file,start,end\nb/four.flac,0,1\nb/four.flac,1,2\n")
    label(manifest, output=labels, teacher="taught", jobs=1)
    manifest.write_text("file,start,end\nb/four.flac,0,1.5\n")
    label(manifest, output=labels, teacher="taught", jobs=1)
    assert (
        "2 labelled segments are not in the source any more (of b/four.flac ...); they stay" in capsys.readouterr().err
    )


# The command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_one_json_object(distill: Command, spoken: Path, labels: Path) -> None:
    arguments = ("label", spoken.parent / "speaker-01", "-o", labels, *PROSODY, "--jobs", "1", "--json")
    first, second = (distill(*arguments) for _ in range(2))
    assert list(json.loads(first.stdout)) == KEYS
    assert [counts(json.loads(done.stdout)) for done in (first, second)] == [(10, 0, 0), (0, 10, 0)]
    assert first.returncode == second.returncode == 0 and not first.stderr


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_a_failure_matters_to_the_exit_code_only_if_strict(
    distill: Command, spoken: Path, tmp_path: Path, labels: Path, strict: tuple[str, ...], code: int
) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    shutil.copy(spoken.parent / "speaker-01" / "clip-001.flac", folder)
    (folder / "text.wav").write_text("text")
    done = distill("label", folder, "-o", labels, *PROSODY, "--jobs", "1", "--json", *strict)
    assert (done.returncode, counts(json.loads(done.stdout))) == (code, (1, 0, 1))
    assert done.stderr == f"1 of 2 segments failed; {labels / 'failed.csv'} names each\n"


def test_the_command_fails_where_nothing_was_labelled(distill: Command, tmp_path: Path, labels: Path) -> None:
    (tmp_path / "text.wav").write_text("text")
    done = distill("label", tmp_path, "-o", labels, *PROSODY, "--jobs", "1", "--json")
    assert done.returncode == 1 and not done.stdout and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("distill: nothing was labelled")


@pytest.fixture
def long_work(spoken: Path, labels: Path) -> list[str]:
    """A command that labels more than two hundred segments with two workers."""
    windows = ["--window", "0.3", "--hop", "0.04", "--jobs", "2", "--json"]
    return [sys.executable, "-m", "distill", "label", str(spoken), "-o", str(labels), *PROSODY, *windows]


def interrupted(command: list[str], moment: Callable[[], bool], delay: float = 0.0) -> None:
    """Run a command and press Ctrl-C, which on a terminal reaches the command and its workers alike."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    for _ in until(moment):
        assert process.poll() is None, process.communicate()
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    # An empty line ends the one on which a terminal shows ^C.
    assert err == "\ndistill: interrupted; what was finished is kept, and the same command goes on from there\n"


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.3])
def test_ctrl_c_while_the_workers_start_is_one_line(long_work: list[str], labels: Path, delay: float) -> None:
    interrupted(long_work, (labels / "labels.json").exists, delay)
    assert {path.name for path in labels.iterdir() if "part" not in path.name} == {".lock", "labels.json"}


def test_after_ctrl_c_the_next_run_completes_the_table(long_work: list[str], labels: Path) -> None:
    interrupted(long_work, lambda: any(labels.glob("part-*")))
    assert not [path for path in labels.iterdir() if "partial" in path.name]
    with pytest.raises(DistillError, match="unfinished"):
        table.read(labels)
    done = subprocess.run(long_work, capture_output=True, text=True, cwd=ROOT)
    result = json.loads(done.stdout)
    read = table.read(labels)
    segments = list(zip(*(read.column(name) for name in table.KEY_COLUMNS), strict=True))
    assert len(set(segments)) == len(segments) == result["labelled"] + result["skipped"]
    assert result["labelled"] > 0 < result["skipped"] and len(segments) == read.info["counts"]["segments"] > 200


def until(happened: Callable[[], bool], seconds: float = 60.0) -> Iterator[None]:
    """Turn after turn, until something has happened."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)
        yield


def test_a_source_that_is_not_there_is_told_before_the_teacher_is_opened(tmp_path: Path, labels: Path) -> None:
    with pytest.raises(DistillError, match="nowhere: no such file or folder"):
        label(tmp_path / "nowhere", output=labels, teacher="no such teacher either", jobs=1)
    assert not labels.exists()

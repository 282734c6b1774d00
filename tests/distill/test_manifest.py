"""Folders, files and manifests become one list of segments; what is wrong in a manifest is named by row."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.errors import DistillError
from distill.sources.manifest import (
    Cut,
    Failure,
    Segment,
    audio_files,
    list_segments,
    read_rows,
    select,
    write_failures,
)

CUT = Cut(30.0, 30.0)

Tone = Callable[..., np.ndarray]


@dataclass
class Listed:
    """A listing, read through."""

    root: Path
    segments: list[Segment]
    failures: list[Failure]


def listed(source: Path, **how: Any) -> Listed:
    listing = list_segments(source, **how)
    entries = list(listing)
    assert entries == list(listing)  # it can be read again
    segments = [entry for entry in entries if isinstance(entry, Segment)]
    return Listed(listing.root, segments, [entry for entry in entries if isinstance(entry, Failure)])


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_is_searched_through(corpus: Path) -> None:
    (corpus / "notes.txt").write_text("no audio")
    (corpus / ".hidden").mkdir()
    (corpus / ".hidden" / "x.wav").touch()
    (corpus / "b" / ".x.wav").touch()
    (corpus / "b" / "folder.wav").mkdir()
    (corpus / "b" / "folder.wav" / "LOUD.WAV").write_bytes((corpus / "a" / "one.wav").read_bytes())
    listing = listed(corpus, cut=CUT)
    names = ["a/one.wav", "a/two.flac", "b/folder.wav/LOUD.WAV", "b/four.flac", "b/three.wav"]
    assert [segment.file for segment in listing.segments] == names == audio_files(corpus)
    assert listing.root == corpus and not listing.failures


def test_a_segment_knows_its_times_and_its_files_state(corpus: Path) -> None:
    (segment,) = listed(corpus / "a" / "one.wav", cut=CUT).segments
    status = (corpus / "a" / "one.wav").stat()
    assert segment.key == ("one.wav", 0.0, 1.0)
    assert (segment.size, segment.changed) == (status.st_size, status.st_mtime_ns)


def test_recordings_are_cut_into_windows(corpus: Path) -> None:
    listing = listed(corpus / "b" / "four.flac", cut=Cut(1.0, 1.0))
    assert [(s.start, s.end) for s in listing.segments] == [(0, 1), (1, 2), (1.5, 2.5)]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_every_kind_of_manifest_gives_the_same_segments(corpus: Path, ending: str) -> None:
    rows = [
        {"file": "a/one.wav", "start": 0.25, "end": 1.0, "speaker": "03", "sex": "f"},
        {"file": "b/three.wav", "start": 0.0, "end": 0.5, "speaker": "4", "sex": "m"},
    ]
    path = corpus / f"manifest.{ending}"
    if ending == "csv":
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif ending == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    segments = listed(path, cut=CUT).segments
    assert [segment.key for segment in segments] == [("a/one.wav", 0.25, 1.0), ("b/three.wav", 0.0, 0.5)]
    assert [dict(segment.columns) for segment in segments] == [
        {"speaker": "03", "sex": "f"},
        {"speaker": "4", "sex": "m"},
    ]


def test_speaker_03_stays_text(corpus: Path) -> None:
    rows = read_rows(written(corpus / "m.csv", "file,speaker,start\na/one.wav,03,0.5\n"))
    assert rows == [{"file": "a/one.wav", "speaker": "03", "start": 0.5}]


def test_a_folder_is_read_by_its_audiofolder_metadata(corpus: Path) -> None:
    written(corpus / "metadata.csv", "\ufefffile_name,speaker\na/one.wav,03\n")
    (segment,) = listed(corpus, cut=CUT).segments
    assert (segment.file, dict(segment.columns)) == ("a/one.wav", {"speaker": "03"})


def test_another_metadata_csv_is_none_of_audiofolders(corpus: Path) -> None:
    written(corpus / "metadata.csv", "licence,author\nMIT,someone\n")
    assert len(listed(corpus, cut=CUT).segments) == 4


def test_names_are_looked_for_below_the_root_that_is_given(corpus: Path, tmp_path: Path) -> None:
    manifest = written(tmp_path / "elsewhere.csv", "file\na/one.wav\n")
    listing = listed(manifest, audio=corpus, cut=CUT)
    assert listing.root == corpus and [segment.file for segment in listing.segments] == ["a/one.wav"]


def test_a_name_without_folder_or_ending_is_found(corpus: Path) -> None:
    listing = listed(written(corpus / "m.csv", "file\nthree\ntwo.flac\n"), cut=CUT)
    assert [segment.file for segment in listing.segments] == ["b/three.wav", "a/two.flac"]


def test_an_ambiguous_and_an_unknown_name_are_counted_and_named(corpus: Path) -> None:
    (corpus / "b" / "one.wav").write_bytes((corpus / "a" / "one.wav").read_bytes())
    listing = listed(written(corpus / "m.csv", "file\none\nnobody.wav\na/one.wav\n"), cut=CUT)
    assert [segment.file for segment in listing.segments] == ["a/one.wav"]
    assert [failure.file for failure in listing.failures] == ["one", "nobody.wav"]
    assert "ambiguous" in listing.failures[0].reason and listing.failures[1].reason == "no such file"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,start,end\na/one.wav,0,1\n", "row 1: the column 'file' is missing"),
        ("file,start,end\na/one.wav,0,1\n,0,1\n", "row 2: the column 'file' is missing or empty"),
        ("file,start,end\na/one.wav,1,0.5\n", "row 1: ends before it starts"),
        ("file,start,end\na/one.wav,0.5,0.5\n", "row 1: ends before it starts"),
        ("file,start,end\na/one.wav,-1,0.5\n", "row 1: ends before it starts"),
        ("file,start,end\na/one.wav,0,nan\n", "row 1: end is 'nan'"),
        ("file,start,end\na/one.wav,inf,\n", "row 1: start is 'inf'"),
        ("file,start,end\na/one.wav,soon,1\n", "row 1: start is 'soon'"),
        ("file,start,end\na/one.wav,0,1,2\n", "row 1: more values than columns"),
        ('file\n"a/one.wav\n', "cannot be read"),
        ("file,start,end\n", "has no rows"),
        ("", "has no rows"),
    ],
)
def test_a_bad_manifest_is_refused_by_row(corpus: Path, text: str, reason: str) -> None:
    with pytest.raises(DistillError, match=reason):
        listed(written(corpus / "m.csv", text), cut=CUT)


def test_a_manifest_in_another_encoding_is_refused(corpus: Path) -> None:
    (corpus / "m.csv").write_bytes("file\ngrüße.wav\n".encode("latin-1"))
    with pytest.raises(DistillError, match=r"m\.csv: cannot be read"):
        listed(corpus / "m.csv", cut=CUT)


@pytest.mark.parametrize(
    ("name", "text"), [("m.jsonl", "[1]\n"), ("m.jsonl", '{"file": \n'), ("m.parquet", "PAR0"), ("m.csv", "\x00")]
)
def test_a_damaged_manifest_is_refused(corpus: Path, name: str, text: str) -> None:
    with pytest.raises(DistillError, match=name):
        listed(written(corpus / name, text), cut=CUT)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(corpus: Path, ending: str) -> None:
    text = "file\na/one.wav\n" if ending == "csv" else '{"file": "a/one.wav"}\n'
    assert read_rows(written(corpus / f"m.{ending}", "\ufeff" + text)) == [{"file": "a/one.wav"}]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("name", ["two\nlines.wav", "line\u2028separator.wav", "grüße, 你好.wav"])
def test_odd_names_survive_a_manifest(tmp_path: Path, tone: Tone, name: str, ending: str) -> None:
    soundfile.write(tmp_path / name, tone(), 16000)
    path = tmp_path / f"m.{ending}"
    if ending == "csv":
        written(path, f'file\n"{name}"\n')
    else:
        written(path, json.dumps({"file": name}, ensure_ascii=False) + "\n")
    assert [segment.file for segment in listed(path, cut=CUT).segments] == [name]


def test_a_name_of_other_bytes_is_counted_and_named(tmp_path: Path, tone: Tone) -> None:
    soundfile.write(tmp_path / "good.wav", tone(), 16000)
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / name).write_bytes((tmp_path / "good.wav").read_bytes())
    listing = listed(tmp_path, cut=CUT)
    assert [segment.file for segment in listing.segments] == ["good.wav"]
    assert [(failure.file, "UTF-8" in failure.reason) for failure in listing.failures] == [(name, True)]


def test_a_name_that_no_disk_can_hold_is_counted(corpus: Path) -> None:
    listing = listed(written(corpus / "m.csv", f"file\n{'x' * 300}.wav\na/one.wav\n"), cut=CUT)
    assert len(listing.segments) == len(listing.failures) == 1
    assert "too long" in listing.failures[0].reason


def test_a_start_behind_the_end_of_the_file_is_counted(corpus: Path) -> None:
    listing = listed(written(corpus / "m.csv", "file,start\na/one.wav,5\n"), cut=CUT)
    assert listing.failures == [
        Failure("a/one.wav", "the segment starts at 5 s, the file ends at 1 s", start=5.0, end=None)
    ]


def test_where_takes_either_of_several_values(corpus: Path) -> None:
    manifest = written(
        corpus / "m.csv", "file,speaker,split\na/one.wav,03,x\na/two.flac,08,x\nb/three.wav,09,x\nb/four.flac,03,y\n"
    )
    listing = listed(manifest, cut=CUT, where={"speaker": "03|08", "split": "x"})
    assert [segment.file for segment in listing.segments] == ["a/one.wav", "a/two.flac"]


def test_where_needs_a_column_and_leaves_a_row() -> None:
    rows = [{"file": "a", "speaker": "03"}]
    with pytest.raises(DistillError, match="no column 'sex' to choose by; it has file, speaker"):
        select(rows, {"sex": "f"}, Path("m.csv"))
    with pytest.raises(DistillError, match="no row with speaker=3"):
        select(rows, {"speaker": "3"}, Path("m.csv"))


def test_where_means_nothing_for_a_folder(corpus: Path) -> None:
    with pytest.raises(DistillError, match="--where chooses rows of a manifest"):
        listed(corpus, cut=CUT, where={"speaker": "03"})


def test_an_empty_folder_and_none_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"no audio in it \(looked for \.wav"):
        listed(tmp_path, cut=CUT)
    with pytest.raises(DistillError, match="no such file or folder"):
        listed(tmp_path / "nowhere", cut=CUT)


def test_failures_are_named_in_a_csv_that_goes_when_there_are_none(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    write_failures(tmp_path / "failed.csv", [Failure(name, "why, oh why", 0.5, 1.0), Failure("b\nc.wav", "empty file")])
    with (tmp_path / "failed.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["file"], row["reason"], row["start"]) for row in rows] == [
        (name, "why, oh why", "0.5"),
        ("b\nc.wav", "empty file", ""),
    ]
    write_failures(tmp_path / "failed.csv", [])
    assert not list(tmp_path.iterdir())

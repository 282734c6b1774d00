"""Killed at any moment: the next run completes the table, each segment once, nothing that was safe is done again."""

from __future__ import annotations

import csv
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from distill import table
from distill.errors import DistillError
from distill.parts import scan
from distill.synthesis import write_corpus
from teacher.labelling import label

#: Seconds after which an answer has to be safe.
SAFE = 5.0


class Run:
    """Labelling in a process of its own."""

    def __init__(self, source: Path, audio: Path, folder: Path, seconds: float) -> None:
        script = Path(__file__).with_name("slowly.py")
        self.labels, self.log = folder / "labels", folder / "log"
        self._command = [sys.executable, script, source, audio, self.labels, self.log, seconds]

    def start(self) -> subprocess.Popen[str]:
        command = list(map(str, self._command))
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def answered(self) -> Iterator[tuple[float, str]]:
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            moment, clip = line.split()
            yield float(moment), clip


def held(labels: Path) -> set[str]:
    """Digests of the clips that are on disk; reading is what a user would do."""
    if not labels.is_dir():
        return set()
    return {clip for batch in scan(labels, columns=("sha256",)) for clip in batch.column("sha256").to_pylist()}


def sorted_rows(labels: Path) -> pyarrow.Table:
    rows = table.read(labels).rows
    return rows.select(sorted(rows.column_names)).sort_by([("file", "ascending"), ("start", "ascending")])


def disturbed(run: Run, lives: Iterable[float]) -> None:
    """Kill the run again and again, after so many seconds each time, and hold what has to be there."""
    safe: set[str] = set()
    for seconds in lives:
        before = len(list(run.answered()))
        process = run.start()
        time.sleep(seconds)
        process.kill()
        killed = time.time()
        process.communicate()
        there, given = held(run.labels), list(run.answered())[before:]
        again = safe & {clip for _, clip in given}
        assert not again, f"{len(again)} answers that were safe were asked for again"
        late = {clip for moment, clip in given if moment < killed - SAFE}
        assert late <= there, f"{len(late - there)} answers of more than {SAFE:g} s before the kill are lost"
        safe |= there
        if not run.labels.is_dir() or not (table.read_info(run.labels) or {}).get("complete"):
            with pytest.raises(DistillError):  # what is unfinished is not taken for a table
                table.read(run.labels)


def finish(run: Run) -> None:
    process = run.start()
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


def equal_to_undisturbed(run: Run, source: Path, audio: Path, folder: Path) -> Any:
    label(source, audio=audio, output=folder / "calm", teacher="prosody", window=2.0, jobs=1)
    calm = sorted_rows(folder / "calm")
    assert sorted_rows(run.labels).equals(calm)
    return calm


def test_killed_a_few_times_the_table_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    source = write_corpus(tmp_path / "audio", speakers=6, clips=10, seconds=(0.5, 0.9))
    run = Run(source, source.parent, tmp_path, seconds=0.02)
    disturbed(run, (1.2, 1.6, 0.9))
    finish(run)
    assert len(equal_to_undisturbed(run, source, source.parent, tmp_path)) == 60
    assert not [path for path in run.labels.iterdir() if path.name.startswith((".part", ".listing"))]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_hundred_kills_over_real_clips(shared: Path, tmp_path: Path) -> None:
    audio = shared / "emodb" / "two-seconds"
    names = sorted(path.name for path in audio.iterdir())
    speech = sorted((shared / "speech").rglob("*.flac"))[:60]
    for path in speech:
        shutil.copy(path, tmp_path / path.name)
    for name in names:
        (tmp_path / name).symlink_to(audio / name)
    source = tmp_path / "all.csv"
    with source.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "speaker"])
        writer.writerows([name, name[:2]] for name in [*names, *(path.name for path in speech)])
    folder = tmp_path / "work"
    folder.mkdir()
    run = Run(source, tmp_path, folder, seconds=0.2)
    rng = random.Random(0)
    # Every tenth lives long enough for answers of more than five seconds before its end.
    disturbed(run, (rng.uniform(7, 9) if number % 10 == 9 else rng.uniform(0.3, 2.6) for number in range(100)))
    finish(run)
    calm = equal_to_undisturbed(run, source, tmp_path, folder)
    assert len(calm) >= 500
    print(f"{len(calm)} rows after 100 kills, equal to those of an undisturbed run")

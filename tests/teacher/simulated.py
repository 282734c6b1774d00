"""A process that labels ROWS segments with teacher and decoding simulated, recognises them in a second run, merges the
table with another and reads the merged one, and says its peak memory after each: a test of scale.

python simulated.py FOLDER ROWS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile

from benchmarks.memory import peak_rss_bytes
from distill.annotation import Annotation
from distill.audio import SAMPLING_RATE, Span
from distill.labels.merging import merge
from distill.parts import part_files, scan
from teacher import batches, catalogue
from teacher.labelling import label
from teacher.prosody import Prosody

#: Segments a row group of the manifest.
GROUP = 100_000


class Simulated:
    """Answers three numbers of the first sample."""

    def __init__(self) -> None:
        self.card = replace(Prosody.load().card, name="simulated", own_threads=True)

    @classmethod
    def load(cls) -> Simulated:
        return cls()

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        return Annotation(np.repeat(signals[:, :1], 3, axis=1))


def decoded(_: Path, span: Span) -> np.ndarray:
    """A clip of its own for each segment."""
    return np.full(round((span.end - span.start) * SAMPLING_RATE), 0.1 + span.start / 1e8, np.float32)


def write_manifest(path: Path, first: int, last: int) -> Path:
    """Segments `first` to `last` of one recording, each with a speaker."""
    schema = pyarrow.schema({"file": pyarrow.string(), "start": pyarrow.float64(), "end": pyarrow.float64(),
                             "speaker": pyarrow.string()})  # fmt: skip
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for begin in range(first, last, GROUP):
            numbers = np.arange(begin, min(begin + GROUP, last), dtype=np.float64)
            columns = [["long.wav"] * len(numbers), numbers, numbers + 0.3, [f"s{int(n) % 997}" for n in numbers]]
            writer.write_table(pyarrow.table(columns, schema=schema))
    return path


def read_through(folder: Path) -> Iterator[int]:
    for batch in scan(folder):
        yield batch.num_rows


def labelled(folder: Path, name: str, first: int, last: int) -> dict[str, Any]:
    """Label the segments `first` to `last` into `folder`/`name`."""
    manifest = write_manifest(folder / f"{name}.parquet", first, last)
    return label(manifest, audio=folder, output=folder / name, teacher="simulated", window=0.5)


def main(folder: Path, rows: int) -> None:
    catalogue.TEACHERS["simulated"] = "__main__:Simulated"
    batches.read = decoded  # type: ignore[assignment]
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "long.wav", np.ones(SAMPLING_RATE, np.float32) * 0.1, SAMPLING_RATE)
    more, both = rows // 10, rows // 20  # a second table, half of whose segments stand in the first too
    seconds, peaks, found = {}, {}, {}
    stages: dict[str, Callable[[], Any]] = {
        "labelled": lambda: labelled(folder, "labels", 0, rows)["labelled"],
        "again": lambda: labelled(folder, "labels", 0, rows)["skipped"],  # has all to recognise, and nothing to do
        "more": lambda: labelled(folder, "more", rows - both, rows - both + more)["labelled"],
        "merged": lambda: merge([folder / "labels", folder / "more"], output=folder / "merged")["rows"],
        "read": lambda: sum(read_through(folder / "merged")),
    }
    for name, stage in stages.items():
        started = time.monotonic()
        found[name] = stage()
        seconds[name] = round(time.monotonic() - started, 1)
        peaks[name] = peak_rss_bytes()  # so far; not ru_maxrss, which begins with that of the process before this one
    every = rows + more - both
    assert found == {"labelled": rows, "again": rows, "more": more, "merged": every, "read": every}, found
    parts = len(part_files(folder / "labels"))
    print(json.dumps({"rows": rows, "merged_rows": every, "parts": parts, "peak_rss_bytes": max(peaks.values()),
                      "peak_rss_bytes_after": peaks, "seconds": seconds}))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

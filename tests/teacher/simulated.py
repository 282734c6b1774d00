"""A process that labels ROWS segments with teacher and decoding simulated, and says its peak memory: a test of scale.

python simulated.py FOLDER ROWS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile

from benchmarks.memory import peak_rss_bytes
from distill import table
from distill.annotation import Annotation
from distill.audio import SAMPLING_RATE, Span
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


def write_manifest(folder: Path, rows: int) -> Path:
    """Segments of one recording, each with a speaker."""
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "long.wav", np.ones(SAMPLING_RATE, np.float32) * 0.1, SAMPLING_RATE)
    path = folder / "manifest.parquet"
    schema = pyarrow.schema({"file": pyarrow.string(), "start": pyarrow.float64(), "end": pyarrow.float64(),
                             "speaker": pyarrow.string()})  # fmt: skip
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, GROUP):
            numbers = np.arange(first, min(first + GROUP, rows), dtype=np.float64)
            columns = [["long.wav"] * len(numbers), numbers, numbers + 0.3, [f"s{int(n) % 997}" for n in numbers]]
            writer.write_table(pyarrow.table(columns, schema=schema))
    return path


def read_through(folder: Path) -> Iterator[int]:
    for batch in table.scan(folder):
        yield batch.num_rows


def main(folder: Path, rows: int) -> None:
    manifest = write_manifest(folder, rows)
    catalogue.TEACHERS["simulated"] = "__main__:Simulated"
    batches.read = decoded  # type: ignore[assignment]
    took = {}
    for name in ("labelled", "again"):  # the second run has all to recognise, and nothing to do
        started = time.monotonic()
        result = label(manifest, audio=folder, output=folder / "labels", teacher="simulated", window=0.5)
        took[name] = round(time.monotonic() - started, 1)
    assert (result["labelled"], result["skipped"]) == (0, rows), result
    assert sum(read_through(folder / "labels")) == rows
    peak = peak_rss_bytes()  # not ru_maxrss, which begins with that of the process that started this one
    parts = len(table.part_files(folder / "labels"))
    print(json.dumps({"rows": rows, "peak_rss_bytes": peak, "parts": parts, "seconds": took}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

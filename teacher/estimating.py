"""What labelling would take, before it is begun: the teacher is timed on a sample. The table is not touched."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from distill import table
from distill.annotation import Annotator, ColumnAnnotator
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.licences import UNKNOWN
from distill.machine import cores, cpu_name
from distill.sources.manifest import Segment
from distill.sources.remote import DEFAULT_BYTES
from teacher.asked import Asked, Task
from teacher.batches import annotate_batch, clips_together
from teacher.catalogue import DEFAULT, EXACT
from teacher.preparing import described, prepared
from teacher.reconciling import leave_out_what_is_done
from teacher.source import Source
from teacher.speech import PAUSE, THRESHOLD
from teacher.work import spool
from teacher.workers import processes

#: The sample: so many segments, spread over the source, for so many seconds of wall time at most (a batch is ended).
SAMPLE, SECONDS = 64, 20.0

#: Segments of the sample that are timed together: several batches show how much their times differ.
TOGETHER = 8

#: What another process adds to the pace of one: taken at best, as a rule, at worst (they share memory and disk).
EFFICIENCY = (1.0, 0.8, 0.5)


@dataclass
class Timed:
    """What a sample took: seconds of wall time and of audio of each batch, what failed, and the rows."""

    wall: list[float] = field(default_factory=list)
    audio: list[float] = field(default_factory=list)
    segments: int = 0
    failed: int = 0
    rows: list[table.Row] = field(default_factory=list)


def estimate(
    source: str | Path,
    *,
    output: str | Path,
    teacher: str = DEFAULT,
    audio: str | Path | None = None,
    window: float | None = None,
    hop: float | None = None,
    where: Mapping[str, str] | None = None,
    audio_licence: str = UNKNOWN,
    require_licence: str | None = None,
    embeddings: bool = False,
    views: int = 1,
    relabel: bool = False,
    device: str = "auto",
    precision: str = EXACT,
    jobs: int | None = None,
    vad: bool = False,
    vad_threshold: float = THRESHOLD,
    vad_pause: float = PAUSE,
    cache: str | Path | None = None,
    cache_gb: float = DEFAULT_BYTES / 1e9,
    price_per_hour: float | None = None,
) -> dict[str, Any]:
    """How long `teacher.labelling.label`, with the same arguments, would take for what `output` lacks.

    price_per_hour: what the machine costs. A language model is asked about the sample, at its price; its answers stay
    in its cache, so that `label` does not ask again.

    Returns {missing, skipped, unlisted: segments, audio_hours, wall_seconds {value, low, high}, real_time_factor,
    disk_bytes, disk_bytes_with_embeddings (None: the teacher has none), cost {value, low, high} or None, machine, jobs,
    sample}. The listing itself, and loading the teacher, are not in the time.

    Raises:
        Refused, DistillError: as `label` would; or every segment of the sample failed.
    """
    output, asked = Path(output), Asked(teacher, device, precision, views)
    heard = Source(
        path=source, audio=audio, where=where, window=window, hop=hop, vad=vad, vad_threshold=vad_threshold,
        vad_pause=vad_pause, cache=cache, cache_gb=cache_gb,
    )  # fmt: skip
    begun = prepared(heard, asked, embeddings=embeddings, audio_licence=audio_licence, require_licence=require_licence)
    described(output, begun)
    with TemporaryDirectory() as beside:
        work, unlisted = spool(begun.listing, Path(beside) / "listing")
        leave_out_what_is_done(output, work, begun.listing.root, relabel=relabel)
        dimensions = _warm_up(begun.annotator)
        timed = _timed(work.sample(SAMPLE), begun.task, begun.annotator)
        missing, seconds, disk = int(work.missing.sum()), work.seconds(), _bytes_a_row(timed.rows, Path(beside))
    jobs = jobs or processes(begun.annotator.card, device)
    wall = _wall(timed, seconds, min(jobs, cores()))
    return {
        "missing": missing, "skipped": work.segments - missing, "unlisted": len(unlisted),
        "audio_hours": seconds / 3600, "wall_seconds": wall,
        "real_time_factor": wall["value"] / seconds if seconds else 0.0,
        **_on_disk(missing, disk, dimensions), "cost": _cost(wall, price_per_hour), "machine": _machine(), "jobs": jobs,
        "sample": {"segments": timed.segments, "failed": timed.failed, "audio_seconds": sum(timed.audio),
                   "wall_seconds": sum(timed.wall)},
        "output": output,
    }  # fmt: skip


def _warm_up(annotator: Annotator) -> int:
    """Ask once, untimed: what is built at the first call is not counted; returns the dimensions of the embedding, 0
    where there is none. Who reads the manifest is not asked of noise, which has no row there (people), or a price (a
    language model), and pools nothing."""
    if isinstance(annotator, ColumnAnnotator):
        return 0
    samples = int(SAMPLING_RATE * max(1.0, annotator.card.shortest_seconds))
    noise = np.random.default_rng(0).normal(0, 0.1, (1, samples)).astype(np.float32)
    embedding = annotator.annotate(noise, [samples], SAMPLING_RATE).embedding
    return 0 if embedding is None else int(embedding.shape[1])


def _timed(sample: Sequence[Segment], task: Task, annotator: Annotator) -> Timed:
    """Decode and answer the sample, batch by batch, those of like length together, in an order drawn at random: where
    the time ends it early, what was timed is still of all lengths.

    Raises:
        DistillError: every segment failed.
    """
    sample = sorted(sample, key=lambda segment: segment.seconds)
    together = min(clips_together(annotator), TOGETHER)
    batches = [sample[at : at + together] for at in range(0, len(sample), together)]
    timed, began, reason = Timed(), time.monotonic(), ""
    for number in np.random.default_rng(0).permutation(len(batches)):
        if timed.wall and time.monotonic() - began > SECONDS:
            break
        batch, started = batches[number], time.monotonic()
        outcome = annotate_batch(batch, task.root, annotator, embeddings=task.embeddings)
        timed.wall.append(time.monotonic() - started)
        timed.audio.append(sum(segment.seconds for segment in batch))
        timed.segments, timed.failed = timed.segments + len(batch), timed.failed + len(outcome.failures)
        timed.rows += [replace(row, embedding=None) for row in outcome.rows]
        reason = outcome.failures[0].reason if outcome.failures else reason
    if sample and not timed.rows:
        raise DistillError(f"all {timed.segments} segments of the sample failed ({reason}); nothing can be estimated")
    return timed


def _wall(timed: Timed, seconds: float, processes: int) -> dict[str, float]:
    """Seconds of wall time for `seconds` of audio: {value, low, high}; two standard errors of the batches' pace, and
    what is not known of how several processes share the machine."""
    audio, wall = np.array(timed.audio), np.array(timed.wall)
    if not len(audio):
        return {"value": 0.0, "low": 0.0, "high": 0.0}
    pace = wall.sum() / audio.sum()
    # The standard error of a ratio; of a single batch nothing is known, and half as much again is allowed.
    off = wall - pace * audio
    error = np.sqrt((off**2).sum() * len(off) / (len(off) - 1)) / audio.sum() if len(off) > 1 else pace / 4
    best, usual, worst = (1 + (processes - 1) * share for share in EFFICIENCY)
    low, high = max(pace - 2 * error, pace / 2), pace + 2 * error
    return {"value": seconds * pace / usual, "low": seconds * low / best, "high": seconds * high / worst}


def _bytes_a_row(rows: Sequence[table.Row], beside: Path) -> float:
    """Of a table without embeddings, from the rows of the sample, without what a file takes by itself."""
    if not rows:
        return 0.0
    for name, some in (("one", rows[:1]), ("all", rows)):
        table.write_part(beside, name, some)
    one, every = ((beside / f"part-{name}.parquet").stat().st_size for name in ("one", "all"))
    return (every - one) / (len(rows) - 1) if len(rows) > 1 else float(one)


def _on_disk(missing: int, a_row: float, dimensions: int) -> dict[str, float | None]:
    """Bytes of the rows, and with embeddings in half precision, if the teacher has them.

    >>> _on_disk(10, 80.0, 256)
    {'disk_bytes': 800.0, 'disk_bytes_with_embeddings': 5920.0}
    """
    plain = missing * a_row
    return {"disk_bytes": plain, "disk_bytes_with_embeddings": plain + missing * 2 * dimensions if dimensions else None}


def _cost(wall: Mapping[str, float], price_per_hour: float | None) -> dict[str, float] | None:
    """What the machine costs in that time: {value, low, high}; None where nobody says what an hour costs."""
    return None if price_per_hour is None else {name: value / 3600 * price_per_hour for name, value in wall.items()}


def _machine() -> str:
    return f"{platform.node()} ({cpu_name()}, {cores()} cores)"

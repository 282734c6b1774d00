"""Labelling: audio in, a label table out. What is done is recognised; what fails is named; nothing is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from distill import table
from distill.errors import DistillError
from distill.files import read_json, sole_writer
from distill.licences import UNKNOWN
from distill.progress import Progress, say
from distill.sources.manifest import Failure, FailureLog, Listing, Segment
from distill.sources.remote import DEFAULT_BYTES, is_cache
from distill.sources.tars import SUFFIX, split
from teacher import precision as precisions
from teacher.asked import Asked
from teacher.batches import clips_together
from teacher.catalogue import DEFAULT, EXACT
from teacher.engines import LOCAL, Engine, engine_of
from teacher.planning import plan
from teacher.preparing import Prepared, described, prepared
from teacher.reconciling import reconcile
from teacher.source import Source
from teacher.speech import PAUSE, THRESHOLD
from teacher.work import Work, spool
from teacher.writing import Writer

#: Where the listing lies while a run lasts.
_SPOOL = ".listing-"


def label(
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
    precision_check: str | Path | None = None,
    jobs: int | None = None,
    engine: str = LOCAL,
    address: str | None = None,
    vad: bool = False,
    vad_threshold: float = THRESHOLD,
    vad_pause: float = PAUSE,
    cache: str | Path | None = None,
    cache_gb: float = DEFAULT_BYTES / 1e9,
) -> dict[str, Any]:
    """Annotate a folder, a file, tars or a manifest into the label table `output`; a second call does what is missing.

    window, hop: seconds; by default the teacher's longest clip, without overlap. where: rows of the manifest to take.
    audio_licence: of the recordings (`--data-licence`). require_licence: a kind (`distill.licences.KINDS`) that the
    teacher's weights, its data and the recordings may not exceed. embeddings: write what the teacher pooled, in half
    precision.
    views: how many a clip is answered in, itself among them (`teacher.views`): their standard deviation is its spread.
    relabel: replace the rows of files that have changed since. device: where a teacher of torch computes.
    precision: "bfloat16" where 200 clips show that the answers stay those of float32, which is tried before the work,
    once; precision_check: the file of a `check_precision` that has shown it already.
    jobs: worker processes, by default one a core; one a GPU, or one, for a teacher that uses all cores by itself, which
    more of them share.
    engine: "local", or "ray" for the actors of a Ray cluster, by default one a GPU, or a CPU; every node has to see the
    recordings, and the teacher's files, under the same path. address: of that cluster ("auto": the one that runs here);
    by default one is started on this machine, and stopped.
    vad: take speech alone, which silero-vad finds with a probability of at least `vad_threshold`, joined over pauses
    shorter than `vad_pause` seconds. cache, cache_gb: where tars are kept that lie elsewhere, and how much of them.

    Returns {labelled, skipped, failed, audio_seconds, wall_seconds, output}: segments, and seconds of audio labelled
    now; wall time from the first decode on.

    Raises:
        Refused: a licence is too strict, the answers depend on the precision, `output` holds other work, a file has
            changed, or another run writes there.
        DistillError: no such teacher, nothing could be labelled, the source cannot be read, or the cluster not reached.
    """
    output, computing = Path(output), engine_of(engine, address, jobs)
    heard = Source(
        path=source, audio=audio, where=where, window=window, hop=hop, vad=vad, vad_threshold=vad_threshold,
        vad_pause=vad_pause, cache=cache, cache_gb=cache_gb,
    )  # fmt: skip
    asked = Asked(teacher, device, precision, views)
    begun = prepared(heard, asked, embeddings=embeddings, audio_licence=audio_licence, require_licence=require_licence)
    with computing.at_hand(), sole_writer(output):
        info = described(output, begun)
        with _spooled(output, begun.listing) as (work, unlisted):
            known = _known_checks(output, precision_check)
            info["precision"] = precisions.require(work, begun.task, begun.annotator, known=known)
            reconcile(output, work, info, relabel=relabel)
            failed = _named(output, unlisted)
            done = _compute(output, work, begun, computing, failed)
            _close_table(output, info, work, failed)
            return _summary(output, work, done, failed)


@dataclass
class Done:
    """What a run has labelled: segments, and seconds of audio; wall: the seconds that it took."""

    segments: int = 0
    seconds: float = 0.0
    wall: float = 0.0


def _known_checks(output: Path, given: str | Path | None) -> list[dict[str, Any]]:
    """The checks of the precision that may save another: the one that is given, and that of an earlier run.

    Raises:
        DistillError: what is given is none.
    """
    before = table.read_info(output) or {}
    said = read_json(Path(given)) if given else {}
    if not isinstance(said, dict):
        raise DistillError(f"{given}: no file of `distill check-precision`")
    return [check for check in (said, before.get("precision")) if check]


@contextmanager
def _spooled(output: Path, listing: Listing) -> Iterator[tuple[Work, list[Failure]]]:
    """The listing on disk, in the table's folder, for as long as it is needed."""
    for left in output.glob(f"{_SPOOL}*"):  # by a run that was killed
        left.unlink()
    path = output / f"{_SPOOL}{os.getpid()}"
    try:
        yield spool(listing, path)
    finally:
        path.unlink(missing_ok=True)


def _named(output: Path, unlisted: Sequence[Failure]) -> FailureLog:
    """The log of failures, begun with what could not be listed. How many segments a tar holds that cannot be read
    nobody knows: it is one failure, and that is said."""
    failed = FailureLog(output / table.FAILED)
    failed.add(unlisted)
    tars = {one.file: one.reason for one in unlisted if one.file.lower().endswith(SUFFIX)}
    if tars:
        file, reason = next(iter(tars.items()))
        say(f"tars that cannot be read to their end: {len(tars)} ({file}: {reason} ...); each counts as one failure")
    return failed


def _compute(output: Path, work: Work, begun: Prepared, engine: Engine, failed: FailureLog) -> Done:
    """Run the batches, hand their rows to the writer, and name what failed as it comes."""
    done, missing, started = Done(), int(work.missing.sum()), time.monotonic()
    together = clips_together(begun.annotator)
    batches = (batch for part in _parts(work, begun.task.root) for batch in plan(part, begun.task.root, together))
    outcomes = engine.annotate(batches, begun.task, begun.annotator, most=-(-missing // together))
    with Writer(output) as writer, Progress("labelling", missing, "segments") as progress:
        for batch, outcome in outcomes:
            writer.add(outcome.rows)
            failed.add(outcome.failures)
            seconds = sum(row.end - row.start for row in outcome.rows)
            done.segments, done.seconds = done.segments + len(outcome.rows), done.seconds + seconds
            progress.advance(len(batch), audio_seconds=seconds, failed=len(outcome.failures))
    done.wall = time.monotonic() - started
    return done


def _parts(work: Work, root: Path) -> Iterator[list[Segment]]:
    """Segments that are planned into batches together: of tars that must be fetched, those of one tar, so that it is
    fetched once."""
    for chunk in work.chunks():
        if is_cache(root):
            yield from (list(part) for _, part in groupby(chunk, key=_tar))
        else:
            yield chunk


def _tar(segment: Segment) -> str:
    inside = split(Path(segment.file))
    return segment.file if inside is None else inside[0].as_posix()


def _close_table(output: Path, info: dict[str, Any], work: Work, failed: FailureLog) -> None:
    rows, seconds = table.count(output)
    counts = {"segments": work.segments, "rows": rows, "failed": failed.count}
    table.write_info(output, {**info, "complete": rows > 0, "counts": counts, "audio_seconds": seconds})


def _summary(output: Path, work: Work, done: Done, failed: FailureLog) -> dict[str, Any]:
    skipped = work.segments - int(work.missing.sum())
    if failed.count:
        total = done.segments + skipped + failed.count
        say(f"{failed.count} of {total} segments failed; {output / table.FAILED} names each")
    if not done.segments and not skipped:
        raise DistillError(
            f"nothing was labelled: all {failed.count} segments failed ({failed.first}); {output / table.FAILED} names "
            "each"
        )
    return {"labelled": done.segments, "skipped": skipped, "failed": failed.count,
            "audio_seconds": round(done.seconds, 3), "wall_seconds": round(done.wall, 3), "output": output}  # fmt: skip

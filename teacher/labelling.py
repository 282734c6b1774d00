"""Labelling: audio in, a label table out. What is done is recognised; what fails is named; nothing is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import Annotator
from distill.errors import DistillError, Refused
from distill.files import read_json, sole_writer
from distill.licences import UNKNOWN, require
from distill.manifest import Cut, Failure, FailureLog, Listing, Segment, list_segments
from distill.progress import Progress, say
from distill.remote import DEFAULT_BYTES, is_address, is_cache
from distill.tars import split
from teacher import precision as precisions
from teacher.batches import Outcome, clips_together, plan
from teacher.catalogue import DEFAULT, EXACT, card_of
from teacher.speech import SpeechFinder
from teacher.work import Marks, Work, files_of, gone, known_of, outdated, spool
from teacher.workers import Asked, annotate_batches, devices, opened
from teacher.writing import Writer

#: What computes: processes of this machine, or the actors of a Ray cluster.
ENGINES = LOCAL, RAY = "local", "ray"

#: Batches in, each with what became of it out.
Answering = Callable[[Iterator[list[Segment]]], Iterator[tuple[list[Segment], Outcome]]]

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
    vad_threshold: float = 0.5,
    vad_pause: float = 0.3,
    cache: str | Path | None = None,
    cache_gb: float = DEFAULT_BYTES / 1e9,
) -> dict[str, Any]:
    """Annotate a folder, a file, tars or a manifest into the label table `output`; a second call does what is missing.

    window, hop: seconds; by default the teacher's longest clip, without overlap. where: rows of the manifest to take.
    audio_licence: the licence of the recordings. require_licence: a kind (`distill.licences.KINDS`) that the teacher's
    weights, its data and the recordings may not exceed. embeddings: write what the teacher pooled, in half precision.
    views: how many a clip is answered in, itself among them (`teacher.views`): their standard deviation is its spread.
    relabel: replace the rows of files that have changed since. device: where a teacher of torch computes.
    precision: "bfloat16" where 200 clips show that the answers stay those of float32, which is tried before the work,
    once; precision_check: the file of a `check_precision` that has shown it already.
    jobs: worker processes, by default one a core; one a GPU, or one, for a teacher that uses all cores by itself.
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
    output = Path(output)
    annotator, listing, arguments = prepared(
        source, teacher=teacher, audio=audio, window=window, hop=hop, where=where, audio_licence=audio_licence,
        require_licence=require_licence, embeddings=embeddings, views=views, device=device, precision=precision,
        vad=vad, vad_threshold=vad_threshold, vad_pause=vad_pause, cache=cache, cache_gb=cache_gb,
    )  # fmt: skip
    asked = Asked(listing.root, teacher, device, embeddings, precision, views)
    with _at_hand(engine, address, jobs), sole_writer(output):
        info = described(output, annotator, listing, arguments)
        with _spooled(output, listing) as (work, unlisted):
            info["precision"] = precisions.require(
                work, listing.root, teacher, annotator, precision, device, known=_known_checks(output, precision_check)
            )
            _reconcile(output, work, relabel=relabel, info=info)
            failed = FailureLog(output / table.FAILED)
            failed.add(unlisted)
            started = time.monotonic()
            together = clips_together(annotator)
            most = -(-int(work.missing.sum()) // together)
            answering = _answering(asked, engine, address, jobs, processes(annotator, device), most)
            done = _compute(output, work, answering, asked.root, together, failed)
            wall = time.monotonic() - started
            _close_table(output, info, work, failed)
            return _summary(work, done, failed, wall, output)


def prepared(
    source: str | Path, *, teacher: str, audio: str | Path | None, window: float | None, hop: float | None,
    where: Mapping[str, str] | None, audio_licence: str, require_licence: str | None, embeddings: bool, views: int,
    device: str, precision: str, vad: bool, vad_threshold: float, vad_pause: float, cache: str | Path | None,
    cache_gb: float,
) -> tuple[Annotator, Listing, dict[str, Any]]:  # fmt: skip
    """What labelling and its estimate begin with: the teacher, what the source holds, and the arguments that have to be
    the same for two runs to be one. The options are those of `label`.

    Raises:
        Refused, DistillError: as `label`.
    """
    if views < 1:
        raise DistillError(f"--views {views}: a clip is answered at least once")
    _check_licences(require_licence, teacher, audio_licence)
    annotator = opened(teacher, device, precision, views)
    cut = _cut(window, hop, annotator)
    shortest = annotator.card.shortest_seconds
    finder = SpeechFinder(shortest, cut.window, cut.hop, vad_pause, vad_threshold) if vad else None
    listing = list_segments(
        source, audio=None if audio is None else Path(audio), cut=replace(cut, find=finder), where=where,
        cache=None if cache is None else Path(cache), cache_bytes=int(cache_gb * 1e9),
    )  # fmt: skip
    written = {"embeddings": embeddings, "views": views, "precision": precision, "vad": finder and finder.settings()}
    return annotator, listing, _arguments(source, cut, where, teacher, annotator, audio_licence, written)


@dataclass
class Done:
    """What a run has labelled: segments, and seconds of audio."""

    segments: int = 0
    seconds: float = 0.0


def _check_licences(wanted: str | None, teacher: str, audio_licence: str) -> None:
    """Refuse before anything is downloaded or read.

    Raises:
        Refused: the teacher's weights, its data or the recordings are under stricter a licence than `wanted`.
    """
    if wanted is None:
        return
    card = card_of(teacher)
    weights, data = (card.licence, card.data_licence) if card else (UNKNOWN, UNKNOWN)
    require(wanted, {f"the weights of {teacher}": weights, f"what {teacher} was trained on": data,
                     "the recordings (--data-licence)": audio_licence})  # fmt: skip


@contextmanager
def _at_hand(engine: str, address: str | None, jobs: int | None) -> Iterator[None]:
    """The cluster, for as long as it is needed: whether it can be reached shows before the source is listed.

    Raises:
        DistillError: it cannot, there is no such engine, or it takes no address.
    """
    if engine not in ENGINES:
        raise DistillError(f"--engine {engine}: there are {', '.join(ENGINES)}")
    if engine == LOCAL:
        if address is not None:
            raise DistillError(f"--address {address}: only the cluster of --engine {RAY} has one")
        yield
        return
    from teacher.cluster import reached

    with reached(address, jobs):
        yield


def _answering(
    asked: Asked, engine: str, address: str | None, jobs: int | None, processes: int, most: int
) -> Answering:
    """What batches go through. processes: of this machine, if nobody says otherwise; most: of use."""
    if engine == LOCAL:
        return lambda batches: annotate_batches(batches, asked, min(jobs or processes, most))
    from teacher.cluster import annotate_on_ray

    return lambda batches: annotate_on_ray(batches, asked, address, jobs)


def processes(annotator: Annotator, device: str) -> int:
    """One a core; for a teacher that uses all cores by itself one a GPU, or one."""
    return len(devices(device)) if annotator.card.own_threads else os.cpu_count() or 1


def _cut(window: float | None, hop: float | None, annotator: Annotator) -> Cut:
    longest = annotator.card.longest_seconds
    window = longest if window is None else window
    if not annotator.card.shortest_seconds <= window <= longest:
        shortest = annotator.card.shortest_seconds
        raise DistillError(f"--window {window:g}: {annotator.card.name} takes clips of {shortest:g} to {longest:g} s")
    if hop is not None and not 0 < hop <= window:
        raise DistillError(f"--hop {hop:g}: must be above 0 and at most the window of {window:g} s")
    return Cut(window, window if hop is None else hop)


def _arguments(
    source: str | Path,
    cut: Cut,
    where: Mapping[str, str] | None,
    teacher: str,
    annotator: Annotator,
    audio_licence: str,
    written: Mapping[str, Any],
) -> dict[str, Any]:
    """What must be the same for two runs to be one."""
    where_from = str(source) if is_address(str(source)) else Path(source).resolve().as_posix()
    return {"source": where_from, "teacher": teacher, "revision": annotator.card.revision,
            "window": cut.window, "hop": cut.hop, "where": dict(where or {}),
            "data-licence": audio_licence, **written}  # fmt: skip


def described(output: Path, annotator: Annotator, listing: Listing, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`labels.json` of an unfinished table.

    Raises:
        Refused: the folder holds a table made with other arguments.
    """
    root = listing.root.resolve().as_posix()
    before = table.read_info(output)
    # A corrected command takes the place of one that failed before its first row.
    if before is not None and table.part_files(output):
        table.check_info(output, before, ("arguments", "root"))
        first = {"embeddings": False, "views": 1, "precision": EXACT, "vad": None}  # what tables of before do not say
        made = {**first, **before["arguments"], "root": before["root"]}
        _refuse_other(output, made, {**arguments, "root": root})
    elif any(output.glob("part-*.parquet")):
        raise Refused(f"{output}: holds parts of a label table without its {table.JSON}; choose another folder")
    card = annotator.card
    return {
        "format": 1, "complete": False, "root": root, "arguments": arguments, "teacher": card.as_dict(),
        "axes": card.axes, "derived": card.derived, "normalisation": card.normalisation, "licence": card.licence,
        "data_licence": card.data_licence, "audio_licence": arguments["data-licence"],
    }  # fmt: skip


def _refuse_other(output: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            raise Refused(
                f"{output}: was labelled with {name} {before.get(name)!r}, now it is {value!r}; choose another folder"
            )


def _known_checks(output: Path, given: str | Path | None) -> list[dict[str, Any]]:
    """The checks of the precision that may save another: the one that is given, and that of an earlier run."""
    before = table.read_info(output) or {}
    return [check for check in (read_json(Path(given)) if given else None, before.get("precision")) if check]


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


def _reconcile(output: Path, work: Work, *, relabel: bool, info: Mapping[str, Any]) -> None:
    """Leave out of the work what the table holds, and out of the table what no longer holds.

    Raises:
        Refused: a file has changed, and `relabel` does not allow to replace its rows.
    """
    table.settle(output)
    known = known_of(output)
    old = no_longer_so(output, work, known, relabel=relabel)
    lost = gone(work, known)
    if lost.any():
        files = files_of(output, lost)
        say(f"{int(lost.sum())} labelled segments are not in the source any more (of {min(files)} ...); they stay")
    table.write_info(output, info)  # from here on the table is unfinished, whatever happens
    if old.any():
        table.drop_files(output, files_of(output, old))
        known = known_of(output)
    work.leave_out(known)


def no_longer_so(output: Path, work: Work, known: Marks, *, relabel: bool) -> np.ndarray:
    """Boolean [known]: the rows of a table that no longer hold.

    Raises:
        Refused: there are some, and `relabel` does not allow to replace them.
    """
    old = outdated(work, known)
    if old.any() and not relabel:
        changed = files_of(output, old)
        raise Refused(
            f"{output}: {min(changed)} has changed since it was labelled ({len(changed)} files in all); --relabel"
        )
    return old


def _compute(output: Path, work: Work, answering: Answering, root: Path, together: int, failed: FailureLog) -> Done:
    """Run the batches, hand their rows to the writer, and name what failed as it comes."""
    done, total = Done(), int(work.missing.sum())
    batches = (batch for part in _parts(work, root) for batch in plan(part, root, together))
    with Writer(output) as writer, Progress("labelling", total, "segments") as progress:
        for batch, outcome in answering(batches):
            writer.add(outcome.rows)
            failed.add(outcome.failures)
            seconds = sum(row.end - row.start for row in outcome.rows)
            done.segments, done.seconds = done.segments + len(outcome.rows), done.seconds + seconds
            progress.advance(len(batch), audio_seconds=seconds, failed=len(outcome.failures))
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


def _summary(work: Work, done: Done, failed: FailureLog, wall: float, output: Path) -> dict[str, Any]:
    skipped = work.segments - int(work.missing.sum())
    if failed.count:
        total = done.segments + skipped + failed.count
        say(f"{failed.count} of {total} segments failed; {output / table.FAILED} names each")
    if not done.segments and not skipped:
        raise DistillError(
            f"nothing was labelled: all {failed.count} segments failed; {output / table.FAILED} says why"
        )
    return {"labelled": done.segments, "skipped": skipped, "failed": failed.count,
            "audio_seconds": round(done.seconds, 3), "wall_seconds": round(wall, 3), "output": output}  # fmt: skip

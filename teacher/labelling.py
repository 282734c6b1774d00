"""Labelling: audio in, a label table out. What is done is recognised; what fails is named; nothing is lost."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import Annotator
from distill.errors import DistillError, Refused
from distill.files import read_json, sole_writer
from distill.licences import UNKNOWN, require
from distill.manifest import Cut, Listing, Segment, list_segments, write_failures
from distill.progress import Progress, say
from teacher import precision as precisions
from teacher.batches import Outcome, plan
from teacher.catalogue import DEFAULT, EXACT, card_of
from teacher.workers import Asked, annotate_batches, opened

#: Where a table names what could not be labelled.
FAILED = "failed.csv"


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
    relabel: bool = False,
    device: str = "auto",
    precision: str = EXACT,
    precision_check: str | Path | None = None,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Annotate a folder, a file or a manifest into the label table `output`; a second call does what is missing.

    window, hop: seconds; by default the teacher's longest clip, without overlap. where: rows of the manifest to take.
    audio_licence: the licence of the recordings. require_licence: a kind (`distill.licences.KINDS`) that the teacher's
    weights, its data and the recordings may not exceed. embeddings: write what the teacher pooled, in half precision.
    relabel: replace the rows of files that have changed since. device: where a teacher of torch computes.
    precision: "bfloat16" where the first 200 clips show that the answers stay those of float32, which is tried before
    the work, once; precision_check: the file of a `check_precision` that has shown it already.
    jobs: worker processes, by default one a core; one for a teacher that uses all cores by itself.

    Returns {labelled, skipped, failed, audio_seconds, wall_seconds, output}: segments, and seconds of audio labelled
    now; wall time from the first decode on.

    Raises:
        Refused: a licence is too strict, the answers depend on the precision, `output` holds other work, a file has
            changed, or another run writes there.
        DistillError: no such teacher, nothing could be labelled, or the source cannot be read.
    """
    source, output, audio = Path(source), Path(output), None if audio is None else Path(audio)
    _check_licences(require_licence, teacher, audio_licence)
    annotator = opened(teacher, device, precision)
    cut = _cut(window, hop, annotator)
    listing = list_segments(source, audio=audio, cut=cut, where=where)
    with sole_writer(output):
        arguments = _arguments(source, cut, where, teacher, annotator, audio_licence, embeddings=embeddings)
        arguments["precision"] = precision
        info = _described(output, annotator, listing, arguments)
        known_checks = _known_checks(output, precision_check)
        info["precision"] = precisions.require(listing, teacher, annotator, precision, device, known=known_checks)
        known = _known(output)
        changed = _changed(output, known, listing.segments, relabel=relabel)
        table.write_info(output, info)  # from here on the table is unfinished, whatever happens
        table.drop_files(output, changed)
        missing = _missing(listing.segments, [row for row in known if row["file"] not in changed])
        started = time.monotonic()
        asked = Asked(listing.root, teacher, device, embeddings, precision)
        done = _compute(output, plan(missing, listing.root), listing, asked, jobs or _processes(annotator))
        wall = time.monotonic() - started
        _close_table(output, info, listing, done)
    return _summary(listing, missing, done, wall, output)


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


def _processes(annotator: Annotator) -> int:
    return 1 if annotator.card.own_threads else os.cpu_count() or 1


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
    source: Path,
    cut: Cut,
    where: Mapping[str, str] | None,
    teacher: str,
    annotator: Annotator,
    audio_licence: str,
    *,
    embeddings: bool,
) -> dict[str, Any]:
    """What must be the same for two runs to be one."""
    return {"source": source.resolve().as_posix(), "teacher": teacher, "revision": annotator.card.revision,
            "window": cut.window, "hop": cut.hop, "where": dict(where or {}),
            "data-licence": audio_licence, "embeddings": embeddings}  # fmt: skip


def _described(output: Path, annotator: Annotator, listing: Listing, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`labels.json` of an unfinished table.

    Raises:
        Refused: the folder holds a table made with other arguments.
    """
    root = listing.root.resolve().as_posix()
    before = table.read_info(output)
    if before is not None:
        # Tables of before have neither.
        made = {"embeddings": False, "precision": EXACT, **before["arguments"], "root": before["root"]}
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


def _known(output: Path) -> list[dict[str, Any]]:
    """The rows that earlier runs left."""
    rows = table.read_unfinished(output)
    return [] if rows is None else list(rows.to_pylist())


def _changed(
    output: Path, known: Sequence[Mapping[str, Any]], segments: Sequence[Segment], *, relabel: bool
) -> set[str]:
    """Files whose rows no longer hold: the file, or what the manifest says of it, is another than when it was labelled.

    Raises:
        Refused: there are some, and `relabel` does not allow to replace them.
    """
    now = {segment.file: segment for segment in segments}
    changed = {row["file"] for row in known if row["file"] in now and not _still_holds(row, now[row["file"]])}
    if changed and not relabel:
        raise Refused(
            f"{output}: {min(changed)} has changed since it was labelled ({len(changed)} files in all); --relabel"
        )
    gone = {row["file"] for row in known if row["file"] not in now}
    if gone:
        say(f"{len(gone)} labelled files are no longer in the source ({min(gone)} ...); their rows are kept")
    return changed


def _still_holds(row: Mapping[str, Any], segment: Segment) -> bool:
    """A row is known by size and time of change, without decoding, and by the columns that the manifest brought."""
    given = {table.carried_name(name): value for name, value in segment.columns.items()}
    same_columns = all(str(row.get(name)) == str(value) for name, value in given.items())
    return (row["size"], row["changed"]) == (segment.size, segment.changed) and same_columns


def _missing(segments: Sequence[Segment], known: Sequence[Mapping[str, Any]]) -> list[Segment]:
    """The segments without a row."""
    done = {tuple(row[name] for name in table.KEY_COLUMNS) for row in known}
    return [segment for segment in segments if segment.key not in done]


def _compute(output: Path, batches: list[list[Segment]], listing: Listing, asked: Asked, jobs: int) -> list[Outcome]:
    """Run the batches, commit each as it comes, and keep the list of failures on disk up to date."""
    outcomes: list[Outcome] = []
    failures = list(listing.failures)
    with Progress("labelling", sum(map(len, batches)), "segments") as progress:
        for batch, outcome in annotate_batches(batches, asked, min(jobs, len(batches))):
            if outcome.rows:
                table.write_part(output, _name(batch), outcome.rows)
            outcomes.append(outcome)
            failures += outcome.failures
            write_failures(output / FAILED, failures)
            seconds = sum(row.end - row.start for row in outcome.rows)
            progress.advance(len(batch), audio_seconds=seconds, failed=len(outcome.failures))
    write_failures(output / FAILED, failures)
    return outcomes


def _name(batch: Sequence[Segment]) -> str:
    text = "\n".join(f"{segment.key} {segment.size} {segment.changed}" for segment in batch)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _close_table(output: Path, info: dict[str, Any], listing: Listing, done: Sequence[Outcome]) -> None:
    failed = len(listing.failures) + sum(len(outcome.failures) for outcome in done)
    rows = table.read_unfinished(output)
    counts = {"segments": len(listing.segments), "rows": 0 if rows is None else rows.num_rows, "failed": failed}
    seconds = 0.0 if rows is None else float(np.sum(rows["end"].to_numpy() - rows["start"].to_numpy()))
    table.write_info(output, {**info, "complete": rows is not None, "counts": counts, "audio_seconds": seconds})


def _summary(
    listing: Listing, missing: Sequence[Segment], done: Sequence[Outcome], wall: float, output: Path
) -> dict[str, Any]:
    labelled = sum(len(outcome.rows) for outcome in done)
    failed = len(listing.failures) + sum(len(outcome.failures) for outcome in done)
    skipped = len(listing.segments) - len(missing)
    if failed:
        say(f"{failed} of {labelled + skipped + failed} segments failed; {output / FAILED} names each")
    if not labelled and not skipped:
        raise DistillError(f"nothing was labelled: all {failed} segments failed; {output / FAILED} says why")
    seconds = sum(row.end - row.start for outcome in done for row in outcome.rows)
    return {"labelled": labelled, "skipped": skipped, "failed": failed, "audio_seconds": round(seconds, 3),
            "wall_seconds": round(wall, 3), "output": output}  # fmt: skip

"""Batches of segments: decoded, annotated; every segment ends as a row or a failure."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill import table
from distill.annotation import AXES, Annotation, Annotator, ColumnAnnotator
from distill.audio import SAMPLING_RATE, digest, padded, read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.sources.manifest import Failure, Segment
from distill.sources.remote import is_cache

#: Segments that are decoded and answered together, where the teacher does not say otherwise.
BATCH = 32

#: Threads that decode ahead, at most: about as many keep up with the fastest network on one GPU.
_DECODERS = 16


@dataclass(frozen=True)
class Outcome:
    """What became of a batch."""

    rows: list[table.Row]
    failures: list[Failure]


@dataclass(frozen=True)
class Decoded:
    """The audio of a batch. signals: float32 [samples] by their digest; digests: of each segment that could be read;
    failures: those that could not."""

    signals: dict[str, np.ndarray]
    digests: list[tuple[Segment, str]]
    failures: list[Failure]


def clips_together(annotator: Annotator) -> int:
    """How many clips a teacher is best asked at once: a slow one says so itself (`together`), since what it has
    answered is on disk only when its batch is done.

    >>> clips_together(object()) == BATCH  # it says nothing of its own
    True
    """
    return int(getattr(annotator, "together", BATCH))


def annotate_batch(
    segments: Sequence[Segment], root: Path, annotator: Annotator, *, embeddings: bool = False
) -> Outcome:
    """Decode, check and annotate a batch; every segment becomes a row or a failure with its reason.

    embeddings: rows carry what the teacher pooled.
    """
    return annotate_decoded(decode(segments, root, annotator.card.shortest_seconds), annotator, embeddings=embeddings)


def decode(segments: Sequence[Segment], root: Path, shortest_seconds: float) -> Decoded:
    """Read and check the audio of a batch; what cannot be used becomes a failure with its reason."""
    batch = Decoded({}, [], [])
    for segment in segments:
        try:
            signal_ = read(root / segment.file, segment.span)
            reject_unusable(signal_, shortest_seconds)
        except AudioError as error:
            batch.failures.append(_failure(segment, str(error)))
            continue
        key = digest(signal_)
        batch.signals[key] = signal_
        batch.digests.append((segment, key))
    return batch


def decoded_ahead(
    batches: Iterable[list[Segment]], root: Path, shortest_seconds: float, *, threads: int | None = None
) -> Iterator[tuple[list[Segment], Decoded]]:
    """Every batch with its audio, in order: while one is answered, threads read those that come next.

    threads: by default one a core, `_DECODERS` at most; one alone for tars that lie elsewhere, of which a small cache
    may hold one at a time. As many batches are read ahead, so that memory stays bounded.
    """
    threads = threads or (1 if is_cache(root) else min(os.cpu_count() or 1, _DECODERS))
    ahead: deque[tuple[list[Segment], Future[Decoded]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        for batch in batches:
            ahead.append((batch, pool.submit(decode, batch, root, shortest_seconds)))
            if len(ahead) > threads:
                first, reading = ahead.popleft()
                yield first, reading.result()
        for first, reading in ahead:
            yield first, reading.result()
    finally:
        pool.shutdown(cancel_futures=True)


def annotate_decoded(batch: Decoded, annotator: Annotator, *, embeddings: bool = False) -> Outcome:
    """What becomes of a batch whose audio has been read."""
    if not batch.signals:
        return Outcome([], batch.failures)
    asked = [_question(segment, key, annotator) for segment, key in batch.digests]
    questions = {question.key: question for question in asked}
    answers, refused = _answers(list(questions.values()), batch.signals, annotator, embeddings=embeddings)
    rows, unanswered = [], []
    for (segment, key), question in zip(batch.digests, asked, strict=True):
        if question.key in answers:
            rows.append(_row(segment, key, answers[question.key]))
        else:
            unanswered.append(_failure(segment, refused[question.key]))
    return Outcome(rows, batch.failures + unanswered)


@dataclass(frozen=True)
class Answer:
    """What a teacher said of one signal; the embedding in half precision. classes: further columns of the row, of
    teachers that tell something apart."""

    adv: tuple[float | None, ...]
    spread: tuple[float | None, ...]
    embedding: np.ndarray | None
    classes: Mapping[str, str]


@dataclass(frozen=True)
class Question:
    """What a teacher is asked once. digest: of the audio; columns: all that is known of the segment."""

    key: str
    digest: str
    columns: Mapping[str, Any]


def _question(segment: Segment, key: str, annotator: Annotator) -> Question:
    """Segments of the same audio are one question, unless the teacher also reads what is said of them."""
    columns = {**segment.columns, "file": segment.file, "start": segment.start, "end": segment.end}
    return Question(f"{key} {segment.key}" if isinstance(annotator, ColumnAnnotator) else key, key, columns)


def _annotation(questions: Sequence[Question], signals: Mapping[str, np.ndarray], annotator: Annotator) -> Annotation:
    heard = [signals[question.digest] for question in questions]
    batch, lengths = padded(heard), [len(signal_) for signal_ in heard]
    if isinstance(annotator, ColumnAnnotator):
        return annotator.annotate_rows(batch, lengths, SAMPLING_RATE, [question.columns for question in questions])
    return annotator.annotate(batch, lengths, SAMPLING_RATE)


def _answers(
    questions: Sequence[Question], signals: Mapping[str, np.ndarray], annotator: Annotator, *, embeddings: bool
) -> tuple[dict[str, Answer], dict[str, str]]:
    """{question: answer} of what the teacher answered, {question: reason} of what it could not."""
    annotation = _annotation(questions, signals, annotator)
    if embeddings and annotation.embedding is None:
        raise DistillError(f"the teacher {annotator.card.name} has no embedding; label without --embeddings")
    answers: dict[str, Answer] = {}
    refused: dict[str, str] = {}
    for index, key in enumerate(question.key for question in questions):
        answer = _answer(annotation, index, annotator.card.classes, embeddings=embeddings)
        if any(answer.adv[column] is None for column in _columns(annotator)):
            reason = annotation.reasons[index] if annotation.reasons else None
            refused[key] = reason or f"the teacher {annotator.card.name} answered NaN"
        elif answer.embedding is not None and not np.isfinite(answer.embedding).all():
            refused[key] = f"the embedding of {annotator.card.name} does not fit into half precision"
        else:
            answers[key] = answer
    return answers, refused


def _columns(annotator: Annotator) -> list[int]:
    return [index for index, axis in enumerate(AXES) if axis in annotator.card.axes]


def _answer(
    annotation: Annotation, index: int, classes: Sequence[tuple[str, Sequence[str]]], *, embeddings: bool
) -> Answer:
    adv = _finite(annotation.adv[index])
    spread = (None,) * len(adv) if annotation.spread is None else _finite(annotation.spread[index])
    with np.errstate(over="ignore"):  # told by the infinity
        embedding = np.asarray(annotation.embedding[index]).astype(np.float16) if embeddings else None
    said = {} if annotation.categories is None else said_classes(np.asarray(annotation.categories[index]), classes)
    return Answer(adv, spread, embedding, said)


def said_classes(probabilities: np.ndarray, classes: Sequence[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """The likeliest class of each column and its probability, as columns of a label table. probabilities: float
    [classes], column after column.

    >>> said_classes(np.array([0.25, 0.75]), [("sex", ("female", "male"))])
    {'said_sex': 'male', 'said_sex_probability': '0.750'}
    """
    found: dict[str, str] = {}
    at = 0
    for column, names in classes:
        own = probabilities[at : at + len(names)]
        best = int(own.argmax())
        found |= {f"said_{column}": names[best], f"said_{column}_probability": f"{own[best]:.3f}"}
        at += len(names)
    return found


def _finite(values: Any) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)


def _row(segment: Segment, key: str, answer: Answer) -> table.Row:
    return table.Row(
        segment.file, segment.start, segment.end, key, answer.adv, answer.spread, segment.size, segment.changed,
        {**segment.columns, **answer.classes}, answer.embedding,
    )  # fmt: skip


def _failure(segment: Segment, reason: str) -> Failure:
    return Failure(segment.file, reason, segment.start, segment.end)

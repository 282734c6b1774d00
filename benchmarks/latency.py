"""How long an answer takes on this host: one thread, all models taking turns, so that drift hits them alike."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from distill.audio import SAMPLING_RATE
from distill.progress import Progress
from distill.student import Student, StudentCard
from distill.timing import spread

#: Answers of every model at every length that are thrown away before the clock runs.
WARMUP = 3


class Answering(Protocol):
    """An engine other than onnxruntime, in the same turns. heard: float32 [1, samples] as what the engine takes."""

    card: StudentCard

    def heard(self, signals: np.ndarray) -> np.ndarray: ...

    def __call__(self, pcm: np.ndarray) -> np.ndarray: ...


Timed = Student | Answering

#: One answer to take: index of the model, seconds of audio.
Turn = tuple[int, float]


def schedule(models: int, seconds: Sequence[float], *, rounds: int, seed: int) -> Iterator[list[Turn]]:
    """The rounds of a run: in each, every model answers every length once, in an order drawn anew from `seed`.

    Models answer one length directly after each other: they are compared within milliseconds, not minutes.

    >>> [sorted(turns) for turns in schedule(2, (1, 5), rounds=1, seed=0)]
    [[(0, 1), (0, 5), (1, 1), (1, 5)]]
    """
    dice = random.Random(seed)
    for _ in range(rounds):
        lengths = dice.sample(list(seconds), len(seconds))
        yield [(model, length) for length in lengths for model in dice.sample(range(models), models)]


def noise(seconds: float, *, seed: int) -> np.ndarray:
    """White noise at -20 dBFS, float32 [1, samples]: no silence, whose denormal numbers would change the timing.

    >>> noise(0.5, seed=0).shape
    (1, 8000)
    """
    generator = np.random.default_rng(seed)
    return generator.normal(0.0, 0.1, (1, round(seconds * SAMPLING_RATE))).astype(np.float32)


def measure(
    students: Sequence[Timed], *, seconds: Sequence[float], rounds: int, seed: int
) -> list[dict[str, dict[str, float] | None]]:
    """Latency of every student at every length: [{"5": {median, p10, p90, rtf, n}}], milliseconds but for rtf and n.

    A length below a student's shortest clip is null: it would not be answered in earnest either.
    """
    clips = [{length: _heard(student, noise(length, seed=seed)) for length in seconds} for student in students]
    samples: dict[Turn, list[int]] = defaultdict(list)
    with Progress("timing", total=rounds, unit="rounds") as progress:
        _warm_up(students, clips)
        for turns in schedule(len(students), seconds, rounds=rounds, seed=seed):
            for model, length in turns:
                if accepts(students[model], length):
                    samples[model, length].append(_nanoseconds(students[model], clips[model][length]))
            progress.advance()
    return [
        {length_key(length): summary(samples[model, length], length) for length in seconds}
        for model in range(len(students))
    ]


def summary(nanoseconds: Sequence[int], seconds: float) -> dict[str, float] | None:
    """Median, 10th and 90th percentile (ms), real-time factor (median over `seconds`) and count; None of nothing.

    >>> summary([1_000_000, 2_000_000, 3_000_000], 2.0)
    {'median': 2.0, 'p10': 1.2, 'p90': 2.8, 'rtf': 0.001, 'n': 3}
    """
    if not nanoseconds:
        return None
    milliseconds = spread([one / 1e6 for one in nanoseconds], 6)
    return {**milliseconds, "rtf": round(milliseconds["median"] / 1e3 / seconds, 9), "n": len(nanoseconds)}


def ratios(
    latency: Mapping[str, dict[str, float] | None], first: Mapping[str, dict[str, float] | None]
) -> dict[str, float | None]:
    """Medians over those of the first model, {"5": ratio}; null where one of them has none.

    >>> ratios({"5": {"median": 3.0}, "1": None}, {"5": {"median": 2.0}, "1": {"median": 1.0}})
    {'5': 1.5, '1': None}
    """
    pairs = {length: (mine, first[length]) for length, mine in latency.items()}
    return {
        length: mine["median"] / other["median"] if mine and other else None for length, (mine, other) in pairs.items()
    }


def accepts(student: Timed, seconds: float) -> bool:
    """Whether a clip is long enough for a student."""
    return seconds >= student.card.shortest_seconds


def length_key(seconds: float) -> str:
    """How a clip length is written in the JSON.

    >>> length_key(5.0), length_key(2.5)
    ('5', '2.5')
    """
    return f"{seconds:g}"


def _heard(student: Timed, clip: np.ndarray) -> np.ndarray:
    """What a student takes of a clip: the ONNX file as it is, another engine as it says."""
    heard = getattr(student, "heard", None)
    return clip if heard is None else np.asarray(heard(clip))


def _warm_up(students: Sequence[Timed], clips: Sequence[Mapping[float, np.ndarray]]) -> None:
    for student, heard in zip(students, clips, strict=True):
        for length, clip in heard.items():
            for _ in range(WARMUP if accepts(student, length) else 0):
                student(clip)


def _nanoseconds(student: Timed, clip: np.ndarray) -> int:
    before = time.perf_counter_ns()
    student(clip)
    return time.perf_counter_ns() - before

"""The parity ladder: torch, ONNX float, ONNX int8 on the same clips; the first rung that breaks is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE
from distill.metrics import answered, ccc
from distill.student import INPUT, OUTPUT, open_session
from students.network import SHORTEST_SECONDS

#: float32 [1, samples] -> float32 [1, 3].
Answer = Callable[[np.ndarray], np.ndarray]

#: Lengths that are tried (seconds), and how many clips there are in all.
SECONDS = (1, 2, 3, 5, 8, 12, 20, 30)
CLIPS = 200


@dataclass(frozen=True)
class Limit:
    """What a rung may differ from torch: largest absolute difference, and CCC with it per axis."""

    max_abs: float
    ccc: float


#: The limits, in one place.
LIMITS = {"onnx float": Limit(max_abs=1e-3, ccc=0.9999), "onnx int8": Limit(max_abs=0.15, ccc=0.98)}


@dataclass(frozen=True)
class Rung:
    """How far one conversion is from torch.

    ccc: {axis: value}, None where torch's own answers do not vary. n: clips compared; recordings: real ones, of which
    they are made.

    >>> Rung("float", 1e-7, {"arousal": 1.0}, 9, 3, True).as_dict()["rung"]
    'float'
    """

    rung: str
    max_abs: float
    ccc: dict[str, float | None]
    n: int
    recordings: int
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """As the JSON has it."""
        return asdict(self)


class Ladder:
    """Clips, and what the reference answers to them, asked once: every rung is compared with that.

    recordings: how many real ones the clips are made of.
    """

    def __init__(self, reference: Answer, clips: Sequence[np.ndarray], *, recordings: int = 0) -> None:
        self._clips, self._recordings = clips, recordings
        self._expected = _answers(reference, clips)

    def rung(self, name: str, answer: Answer) -> Rung:
        """How far an answer (its name in `LIMITS`) is from the reference on all clips."""
        return _rung(name, _answers(answer, self._clips), self._expected, self._recordings)


def climb(reference: Answer, rungs: dict[str, Answer], clips: Sequence[np.ndarray]) -> list[Rung]:
    """Compare every rung (a name in `LIMITS`) with the reference on all clips."""
    ladder = Ladder(reference, clips)
    return [ladder.rung(name, rung) for name, rung in rungs.items()]


def first_broken(rungs: Sequence[Rung]) -> Rung | None:
    """The lowest rung that is out of its limits.

    >>> first_broken([Rung("float", 1e-7, {}, 9, 3, True), Rung("int8", 0.9, {}, 9, 3, False)]).rung
    'int8'
    """
    return next((rung for rung in rungs if not rung.passed), None)


def torch_answer(network: nn.Module) -> Answer:
    """A network as f(pcm [batch, samples]) -> adv [batch, 3], both numpy.

    >>> torch_answer(nn.Linear(4, 3))(np.zeros((2, 4), np.float32)).shape
    (2, 3)
    """

    @torch.inference_mode()
    def answer(pcm: np.ndarray) -> np.ndarray:
        return np.asarray(network(torch.from_numpy(pcm)).numpy())

    return answer


def session_answer(path: Path) -> Answer:
    """An ONNX file, with or without metadata, as f(pcm) -> adv."""
    session = open_session(path, threads=1)
    return lambda pcm: np.asarray(session.run([OUTPUT], {INPUT: pcm})[0])


def clips_at_lengths(signals: Sequence[np.ndarray], *, count: int = CLIPS) -> list[np.ndarray]:
    """Up to `count` clips of the lengths `SECONDS`, each made of real ones, one after the other: float32 [samples].

    >>> signals = [np.ones(8_000, np.float32)]
    >>> sorted({len(clip) / SAMPLING_RATE for clip in clips_at_lengths(signals)})
    [1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0]
    """
    each = max(1, count // len(SECONDS))
    return [
        _made(signals, first=number, samples=seconds * SAMPLING_RATE)
        for seconds in SECONDS
        for number in range(min(each, len(signals)))
    ]


def synthetic_clips() -> list[np.ndarray]:
    """Noise of every length of the ladder, and of the shortest: float32 [samples] each.

    >>> [len(clip) / SAMPLING_RATE for clip in synthetic_clips()]
    [1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 0.25]
    """
    rng = np.random.default_rng(0)
    clips = clips_at_lengths([rng.standard_normal(SAMPLING_RATE).astype(np.float32)], count=len(SECONDS))
    return [*clips, clips[0][: int(SHORTEST_SECONDS * SAMPLING_RATE)]]


def _answers(answer: Answer, clips: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([answer(clip[None]) for clip in clips])


def _rung(name: str, found: np.ndarray, expected: np.ndarray, recordings: int) -> Rung:
    limit = LIMITS[name]
    same_axes = bool((np.isnan(found) == np.isnan(expected)).all())
    max_abs = float(np.nanmax(np.abs(found - expected))) if same_axes else float("nan")
    agreement = {axis: _concordance(x, y) for axis, (x, y) in answered(found, expected).items()}
    scores: dict[str, float | None] = {axis: agreement.get(axis) for axis in AXES}
    low = [axis for axis, score in scores.items() if score is not None and not score >= limit.ccc]
    return Rung(name, max_abs, scores, len(expected), recordings, same_axes and max_abs <= limit.max_abs and not low)


def _concordance(found: np.ndarray, expected: np.ndarray) -> float | None:
    return None if np.ptp(expected) < 1e-6 else float(ccc(found, expected))


def _made(signals: Sequence[np.ndarray], *, first: int, samples: int) -> np.ndarray:
    parts, length, number = [], 0, first
    while length < samples:
        parts.append(signals[number % len(signals)])
        length += len(parts[-1])
        number += 1
    return np.concatenate(parts)[:samples].astype(np.float32)

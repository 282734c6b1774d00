"""The parity ladder: torch, ONNX float, folded, int8 on the same clips; the first rung that breaks is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from distill.annotation import AXES
from distill.metrics import answered, ccc
from distill.student import INPUT, OUTPUT, open_session
from export.probes import Probe

#: float32 [1, samples] -> float32 [1, 3].
Answer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Limit:
    """What a rung may differ from torch: largest absolute difference, and CCC with it per axis."""

    max_abs: float
    ccc: float


#: The limits, in one place: of what torch exports, of that without what can be spared, of the quantised file; of what
#: answers token by token, at the clip's end; of LiteRT's; and of the engine in C against the quantised file, whose
#: integers it has.
LIMITS = {
    "onnx float": Limit(max_abs=1e-3, ccc=0.9999),
    "onnx folded": Limit(max_abs=1e-3, ccc=0.9999),
    "onnx int8": Limit(max_abs=0.15, ccc=0.98),
    "step": Limit(max_abs=1e-4, ccc=0.9999),
    "step int8": Limit(max_abs=0.15, ccc=0.98),
    "tflite": Limit(max_abs=1e-3, ccc=0.9999),
    "tflite int8": Limit(max_abs=0.15, ccc=0.98),
    "c": Limit(max_abs=0.01, ccc=0.999),
}


@dataclass(frozen=True)
class Rung:
    """How far one conversion is from what it is made of: torch, or another rung.

    ccc: {axis: value}, None where torch's own answers do not vary. n: clips compared; recordings: real ones, of which
    they are made. by: {"length", "level" or "snr": {"5 s": {n, max_abs, ccc}}}, the same of those clips alone; the
    limits are for all clips together. against: what it is compared with.

    >>> Rung("float", 1e-7, {"arousal": 1.0}, 9, 3, True).as_dict()["rung"]
    'float'
    """

    rung: str
    max_abs: float
    ccc: dict[str, float | None]
    n: int
    recordings: int
    passed: bool
    by: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    against: str = "torch"

    def as_dict(self) -> dict[str, Any]:
        """As the JSON has it."""
        return asdict(self)


class Ladder:
    """Clips, and what the reference answers to them, asked once: every rung is compared with that.

    recordings: how many real ones the clips are made of. against: the reference's name.
    """

    def __init__(
        self, reference: Answer, probes: Sequence[Probe], *, recordings: int = 0, against: str = "torch"
    ) -> None:
        self._probes, self._recordings, self._against = probes, recordings, against
        self._expected = self._answers(reference)

    def anew(self, against: str, reference: Answer, heard: Callable[[np.ndarray], np.ndarray]) -> Ladder:
        """The same clips, as `heard` makes them, and another reference of that name."""
        probes = [probe._replace(signal=heard(probe.signal)) for probe in self._probes]
        return Ladder(reference, probes, recordings=self._recordings, against=against)

    def rung(self, name: str, answer: Answer) -> Rung:
        """How far an answer (its name in `LIMITS`) is from the reference on all clips."""
        found, expected, limit = self._answers(answer), self._expected, LIMITS[name]
        whole = _compared(found, expected)
        low = [axis for axis, score in whole["ccc"].items() if score is not None and not score >= limit.ccc]
        by = {
            trait: {value: _compared(found[rows], expected[rows]) for value, rows in values.items()}
            for trait, values in self._slices().items()
        }
        passed = whole["max_abs"] <= limit.max_abs and not low
        return Rung(name, **whole, recordings=self._recordings, passed=passed, by=by, against=self._against)

    def _answers(self, answer: Answer) -> np.ndarray:
        return np.concatenate([answer(probe.signal[None]) for probe in self._probes])

    def _slices(self) -> dict[str, dict[str, list[int]]]:
        """Trait, its values in the order of the clips, and the rows that have them."""
        found: dict[str, dict[str, list[int]]] = {}
        for row, probe in enumerate(self._probes):
            for trait, value in probe.traits.items():
                found.setdefault(trait, {}).setdefault(value, []).append(row)
        return found


def climb(reference: Answer, rungs: dict[str, Answer], probes: Sequence[Probe]) -> list[Rung]:
    """Compare every rung (a name in `LIMITS`) with the reference on all clips."""
    ladder = Ladder(reference, probes)
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


def scores(ccc: Mapping[str, float | None]) -> str:
    """A rung's CCC for people.

    >>> scores({"arousal": 0.99987, "dominance": None})
    'arousal 0.9999'
    """
    return ", ".join(f"{axis} {value:.4f}" for axis, value in ccc.items() if value is not None)


def _compared(found: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """{max_abs, NaN where not the same axes are answered; ccc: {axis}; n}. Both: [clips, 3]."""
    same_axes = bool((np.isnan(found) == np.isnan(expected)).all())
    max_abs = float(np.nanmax(np.abs(found - expected))) if same_axes else float("nan")
    agreement = {axis: _concordance(x, y) for axis, (x, y) in answered(found, expected).items()}
    return {"max_abs": max_abs, "ccc": {axis: agreement.get(axis) for axis in AXES}, "n": len(expected)}


def _concordance(found: np.ndarray, expected: np.ndarray) -> float | None:
    return None if np.ptp(expected) < 1e-6 else float(ccc(found, expected))

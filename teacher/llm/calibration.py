"""The scale of a language model's answers, brought to that of human ratings: a straight line an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import read_json
from distill.metrics import ccc, pearson

#: An axis with fewer rated clips, or speakers, is left as it is.
FEWEST_CLIPS, FEWEST_SPEAKERS = 10, 2


@dataclass(frozen=True)
class Line:
    """calibrated = gain x answer + offset.

    >>> Line(gain=2.0, offset=-0.5)(np.array([0.5, 0.75])).tolist()
    [0.5, 1.0]
    """

    gain: float = 1.0
    offset: float = 0.0

    def __call__(self, answers: np.ndarray) -> np.ndarray:
        return np.asarray(self.gain * answers + self.offset)


@dataclass(frozen=True)
class Fitted:
    """What is known of an axis. ccc_after: each speaker's clips on the line of the others; note: why there is none."""

    line: Line
    n: int
    speakers: int
    ccc_before: float | None = None
    ccc_after: float | None = None
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON types, the line's two numbers among them."""
        return {**asdict(self.line), **{key: value for key, value in asdict(self).items() if key != "line"}}


class Calibration:
    """A line for each axis; without any, answers stay as they are.

    >>> Calibration({"valence": Line(2.0, -0.5)})(np.full(3, 0.75)).tolist()
    [0.75, 0.75, 1.0]
    """

    def __init__(self, lines: Mapping[str, Line] | None = None) -> None:
        self.lines = {axis: (lines or {}).get(axis, Line()) for axis in AXES}

    def __call__(self, adv: np.ndarray) -> np.ndarray:
        """adv: [..., 3] in the order of `AXES`, 0..1; never clipped."""
        return np.stack([self.lines[axis](adv[..., column]) for column, axis in enumerate(AXES)], axis=-1)

    def spread(self, spread: np.ndarray) -> np.ndarray:
        """A standard deviation [..., 3] after it."""
        return np.asarray(spread * np.array([self.lines[axis].gain for axis in AXES]))

    def as_dict(self) -> dict[str, list[float]]:
        """{axis: [gain, offset]}."""
        return {axis: [line.gain, line.offset] for axis, line in self.lines.items()}


def read_calibration(path: Path, answers: str) -> Calibration:
    """Read what `distill calibrate` wrote. answers: the digest of what decides the answers it is to be applied to.

    Raises:
        DistillError: it is missing or damaged, or belongs to other answers.
    """
    found = read_json(path)
    try:
        made_for = found["answers"]
        lines = {axis: Line(float(one["gain"]), float(one["offset"])) for axis, one in found["axes"].items()}
        if not all(np.isfinite([line.gain, line.offset]).all() for line in lines.values()):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DistillError(f"{path}: no file of `distill calibrate`") from None
    if made_for != answers:
        raise DistillError(
            f"{path}: was made for answers of another model, prompt, scale or examples; run `distill calibrate` again"
        )
    return Calibration(lines)


def fit(answers: np.ndarray, ratings: np.ndarray, speakers: Sequence[str]) -> Fitted:
    """The line of one axis, and what it does for speakers that it was not fitted on.

    answers, ratings: [n] without NaN. Mean and standard deviation are matched: of all lines that has the highest CCC
    (it reaches the correlation), where least squares would draw everything towards the mean.

    >>> ratings = np.linspace(0.1, 0.9, 40)
    >>> found = fit(0.5 + ratings / 4, ratings, ["ann", "bob", "cy", "di"] * 10)
    >>> round(found.line.gain, 3), round(found.line.offset, 3)
    (4.0, -2.0)
    """
    who = np.array(speakers)
    clips, people = len(answers), len(set(speakers))
    note = _unfit(answers, ratings, who)
    if note:
        return Fitted(Line(), clips, people, note=note)
    left_out = np.empty(len(answers))
    for speaker in sorted(set(speakers)):
        own = who == speaker
        left_out[own] = _matched(answers[~own], ratings[~own])(answers[own])
    before, after = float(ccc(answers, ratings)), float(ccc(left_out, ratings))
    return Fitted(_matched(answers, ratings), clips, people, before, after)


def _unfit(answers: np.ndarray, ratings: np.ndarray, who: np.ndarray) -> str | None:
    """Why an axis cannot be fitted, or None."""
    if len(answers) < FEWEST_CLIPS or len(set(who)) < FEWEST_SPEAKERS:
        return f"fewer than {FEWEST_CLIPS} rated clips of {FEWEST_SPEAKERS} speakers"
    if any(answers[chosen].std() < 1e-6 for chosen in [who == who, *(who != one for one in set(who))]):
        return "the answers are all the same"
    if ratings.std() < 1e-6:
        return "the ratings are all the same"
    if pearson(answers, ratings) <= 0:
        return "the answers do not rise with the ratings"
    return None


def _matched(answers: np.ndarray, ratings: np.ndarray) -> Line:
    gain = float(ratings.std() / answers.std())
    return Line(gain, float(ratings.mean() - gain * answers.mean()))

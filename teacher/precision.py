"""Reduced precision: taken only where a teacher's answers stay what they are in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from distill.annotation import AXES, Annotator, TeacherCard, axis_columns
from distill.errors import Refused
from distill.files import reject_unwritable, write_json
from distill.metrics import ccc
from distill.progress import Progress, say
from distill.sources.manifest import Cut, Segment, list_segments
from teacher.asked import Asked, Task
from teacher.batches import annotate_batch
from teacher.catalogue import DEFAULT, EXACT
from teacher.planning import plan
from teacher.work import Work, spool

#: Clips that a check hears; of more, it takes as many, evenly over the list.
CLIPS = 200

#: What has to hold on each axis, and of each clip (in units of the answers, about 0..1).
LOWEST_CCC, LARGEST_DIFFERENCE = 0.999, 0.01

Answers = dict[tuple[str, float, float], tuple[float | None, ...]]


def check_precision(
    *,
    audio: str | Path,
    teacher: str = DEFAULT,
    precision: str = "bfloat16",
    device: str = "auto",
    output: str | Path | None = None,
) -> dict[str, Any]:
    """Compare a teacher's answers in `precision` with those in float32, on up to 200 clips of a folder or manifest.

    output: JSON to write the result to, which `label(..., precision_check=)` takes.

    Returns {precision, teacher, revision, device, asked, clips, wanted, ccc: {axis: value}, largest_difference, limits,
    passed, why}: asked clips were to be heard, `clips` could be; `why` names, in words, what failed.

    Raises:
        DistillError: no such teacher or folder, or a teacher or processor that knows no such precision.
    """
    if output is not None:
        reject_unwritable(Path(output))
    asked = Asked(teacher, device, precision)
    reduced = asked.open()
    longest = reduced.card.longest_seconds
    listing = list_segments(Path(audio), cut=Cut(longest, longest))
    with TemporaryDirectory() as folder:
        chosen = spool(listing, Path(folder) / "listing")[0].evenly(CLIPS)
    result = compare(chosen, Task(listing.root, asked), reduced)
    if output is not None:
        write_json(Path(output), result)
    return result


def compare(chosen: Sequence[Segment], task: Task, reduced: Annotator) -> dict[str, Any]:
    """The result of `check_precision` for chosen segments. reduced: the task's teacher, open in its precision."""
    asked = replace(task.asked, views=1)
    with Progress(f"checking {asked.precision}", 2 * len(chosen), "clips") as progress:
        in_reduced = _answers(chosen, task.root, reduced, progress)
        in_exact = _answers(chosen, task.root, replace(asked, precision=EXACT).open(), progress)
    heard = sorted(in_exact.keys() & in_reduced.keys())
    unanswered = sorted(in_exact.keys() - in_reduced.keys())
    pairs = [axis_columns([answers[key] for key in heard]) for answers in (in_exact, in_reduced)]
    agreement = _agreement(pairs[0], pairs[1], reduced.card)
    why = [f"{file}: answered in float32 alone" for file, _, _ in unanswered[:1]] + shortcomings(agreement)
    return {
        "precision": asked.precision, "teacher": reduced.card.name, "revision": reduced.card.revision,
        "device": _kind(asked.device), "asked": len(chosen), "clips": len(heard), "wanted": CLIPS, **agreement,
        "limits": {"ccc": LOWEST_CCC, "largest_difference": LARGEST_DIFFERENCE}, "passed": not why, "why": why,
    }  # fmt: skip


def require(work: Work, task: Task, annotator: Annotator, *, known: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """What `labels.json` says of the task's precision: a check that passed, one of `known` if it fits, else a new one.

    Raises:
        Refused: the check failed.
    """
    precision, clips = task.asked.precision, min(CLIPS, work.segments)
    if precision == EXACT:
        return {"precision": EXACT}
    result = next((dict(one) for one in known if _is_of(one, annotator.card, task.asked, clips)), None)
    if result is None:
        say(f"{clips} clips are compared with float32, which is done once")
        result = compare(work.evenly(CLIPS), task, annotator)
    if not result["passed"]:
        raise Refused(
            f"--precision {precision}: {annotator.card.name} answers otherwise than in float32 on {result['clips']} "
            f"clips ({'; '.join(result['why'])}); label without it"
        )
    if result["clips"] < CLIPS:
        say(f"{precision} was compared with float32 on {result['clips']} clips alone; {CLIPS} are wanted")
    return result


def shortcomings(agreement: Mapping[str, Any]) -> list[str]:
    """What of {ccc, largest_difference} is beyond the limits, in words. What is not a number has failed.

    >>> shortcomings({"ccc": {"arousal": 0.99951, "valence": float("nan")}, "largest_difference": 0.002})
    ['all answers for valence are the same, which shows nothing']
    """
    found = []
    for axis, value in agreement["ccc"].items():
        if np.isnan(value):
            found.append(f"all answers for {axis} are the same, which shows nothing")
        elif value < LOWEST_CCC:
            found.append(f"CCC of {axis} {value:.4f}, not {LOWEST_CCC}")
    if not agreement["ccc"]:
        found.append("no clip could be heard")
    elif not agreement["largest_difference"] <= LARGEST_DIFFERENCE:
        found.append(f"a clip is off by {agreement['largest_difference']:.4f}, more than {LARGEST_DIFFERENCE}")
    return found


def _agreement(exact: np.ndarray, reduced: np.ndarray, card: TeacherCard) -> dict[str, Any]:
    """{ccc: {axis: value, NaN where the float32 answers are all the same}, largest_difference}; nothing of no clip."""
    if not len(exact):
        return {"ccc": {}, "largest_difference": float("nan")}
    columns = [AXES.index(axis) for axis in card.axes]
    x, y = exact[:, columns].astype(np.float64).T, reduced[:, columns].astype(np.float64).T
    values = np.where(np.ptp(x, axis=1) > 0, ccc(x, y), np.nan)
    agreement = dict(zip(card.axes, map(float, values), strict=True))
    return {"ccc": agreement, "largest_difference": float(np.abs(x - y).max())}


def _answers(segments: Sequence[Segment], root: Path, annotator: Annotator, progress: Progress) -> Answers:
    """By segment; what cannot be decoded or answered is left out."""
    answers: Answers = {}
    for batch in plan(segments, root):
        rows = annotate_batch(batch, root, annotator).rows
        answers |= {(row.file, row.start, row.end): row.adv for row in rows}
        progress.advance(len(batch))
    return answers


def _is_of(check: Mapping[str, Any], card: TeacherCard, asked: Asked, clips: int) -> bool:
    """Whether an earlier check answers for this teacher, device and precision, and heard as many clips."""
    made = tuple(check.get(name) for name in ("revision", "precision", "device"))
    return made == (card.revision, asked.precision, _kind(asked.device)) and int(check.get("asked", 0)) >= clips


def _kind(device: str) -> str:
    from distill.learning.device import choose_device

    return choose_device(device).type

"""What was measured of a student, for its card: evaluations as Markdown, and as the fields that model hubs read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.annotation import AXES
from distill.comparison import as_table
from distill.errors import DistillError
from distill.files import read_json

#: What `distill evaluate -o` wrote, or `distill ablate -o`.
Result = Mapping[str, Any]

#: The slices that a card shows, in this order; speakers and categories are for those who read the JSON.
SLICES = ("sex", "snr")


def read_evaluation(path: Path, described: Mapping[str, Any]) -> Result:
    """An evaluation of the student that `described` (its JSON) is of, or of a teacher, to stand beside it.

    Raises:
        DistillError: it is none, or that of another student.
    """
    result = read_json(path)
    asked = result.get("asked") if isinstance(result, dict) else None
    if not asked or "ccc" not in result:
        raise DistillError(f"{path}: no evaluation that says who was asked; make it again with `distill evaluate -o`")
    if "student" in asked and asked["sha256"] != described["sha256"]:
        raise DistillError(
            f"{path}: of another file than this student ({asked['student']}, {asked['precision']}, SHA-256 "
            f"{asked['sha256'][:12]}); evaluate it again"
        )
    return {**result, "path": path.name}


def together(evaluations: Sequence[Result]) -> list[Result]:
    """Evaluations of the same answers to the same clips as one: what one of them lacks, another may have measured."""
    merged: list[dict[str, Any]] = []
    for result in evaluations:
        known = next((one for one in merged if _same(one, result)), None)
        if known is None:
            merged.append(dict(result))
        else:
            known |= {**result, **known, "slices": {**result["slices"], **known["slices"]}}
    return list(merged)


def _same(one: Result, other: Result) -> bool:
    return all(one[key] == other[key] for key in ("asked", "truth", "n", "ccc"))


def read_comparison(path: Path) -> Result:
    """What `distill ablate` found.

    Raises:
        DistillError: it is something else.
    """
    result = read_json(path)
    if not isinstance(result, dict) or not {"variants", "seeds", "failed"} <= set(result):
        raise DistillError(f"{path}: no result of `distill ablate`")
    return result


def whom(result: Result) -> str:
    """With whom the answers were compared.

    >>> whom({"truth": {"teacher": "prosody"}}), whom({"truth": {"teacher": None}})
    ('the teacher `prosody`', "people's ratings")
    """
    teacher = result["truth"]["teacher"]
    return f"the teacher `{teacher}`" if teacher else "people's ratings"


def clips(result: Result) -> str:
    """Which clips it was measured on.

    >>> truth = {"file": "data/ratings.csv", "where": {"split": "dev"}, "audio": "data/full", "teacher": None}
    >>> clips({"n": 63, "truth": truth})
    '63 clips of `ratings.csv` (split dev), recordings `full`'
    """
    truth = result["truth"]
    table = "the label table " if truth["teacher"] else ""
    chosen = ", ".join(f"{column} {value}" for column, value in truth["where"].items())
    audio = f", recordings `{Path(truth['audio']).name}`" if truth["audio"] else ""
    return f"{result['n']} clips of {table}`{Path(truth['file']).name}`{chosen and f' ({chosen})'}{audio}"


def sections(evaluations: Sequence[Result], derived: Sequence[str]) -> Iterator[str]:
    """The lines of a card on what was measured; teachers' own evaluations stand in a column beside the student's."""
    teachers = [result for result in evaluations if "student" not in result["asked"]]
    for result in together(evaluations):
        if "student" in result["asked"]:
            yield from _section(result, _beside(result, teachers), derived)


def hub_results(evaluations: Sequence[Result], task: Mapping[str, str], derived: Sequence[str]) -> list[dict[str, Any]]:
    """What the model hubs read of them."""
    return [
        {
            "task": dict(task),
            "dataset": {"type": "audiofolder", "name": f"{whom(result)}, {clips(result)}".replace("`", "")},
            "metrics": [
                {"type": "ccc", "name": f"CCC {_named(axis, derived)}", "value": round(score["value"], 4)}
                for axis, score in _scores(result)
            ],
        }
        for result in together(evaluations)
        if "student" in result["asked"]
    ]


def comparison(result: Result) -> Iterator[str]:
    """How it is to be trained, measured over seeds."""
    recipe = result.get("recipe", {}).get("train-student", {})
    of = f" of `{recipe['arch']}`" if "arch" in recipe else ""
    passes = f", {recipe['epochs']} passes each" if "epochs" in recipe else ""
    yield f"Short trainings{of} ({result['seeds']} seeds{passes}), to compare the ways; this file is none of them."
    yield from ("", as_table(result))


def scored(score: Mapping[str, float | None]) -> str:
    """A figure and its interval, which is not known of fewer than three clips.

    >>> scored({"value": 0.8767, "low": 0.8312, "high": 0.9099}), scored({"value": 0.5, "low": None, "high": None})
    ('0.877 (0.831 to 0.910)', '0.500')
    """
    if score["low"] is None or score["high"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def _section(result: Result, teacher: Result | None, derived: Sequence[str]) -> Iterator[str]:
    yield from (f"### With {whom(result)}", "", f"On {clips(result)}. CCC, with its 95 % interval.", "")
    yield from _table(result, teacher, derived)
    yield from _lacking(result)
    yield from _slices(result, derived)
    if "robustness" in result:
        yield from _robustness(result, derived)
    yield ""


def _beside(result: Result, teachers: Sequence[Result]) -> Result | None:
    """What a teacher has on the same clips: the one whose answers these were compared with, or of the same truth."""
    answers = result.get("against", {}).get("answers")
    same = (
        teacher
        for teacher in teachers
        if teacher["truth"] == result["truth"] or (answers and teacher["asked"].get("predictions") == answers)
    )
    return next(same, None)


def _table(result: Result, teacher: Result | None, derived: Sequence[str]) -> Iterator[str]:
    loud, against = result.get("loudness"), result.get("against")
    head = ["axis", "this student", "mean absolute error"]
    head += ["loudness alone"] if loud else []
    head += (
        [f"the teacher `{teacher['asked']['teacher']}`" if teacher["asked"]["teacher"] else "others"] if teacher else []
    )
    head += ["share of its CCC"] if teacher and against else []
    yield from (_row(head), _row(["---"] * len(head)))
    for axis, score in _scores(result):
        cells = [_named(axis, derived), scored(score), f"{result['mae'][axis]:.3f}"]
        cells += [_of(loud["ccc"], axis)] if loud else []
        cells += [_of(teacher["ccc"], axis)] if teacher else []
        cells += [_share(against["ratio"].get(axis))] if teacher and against else []
        yield _row(cells)
    if loud:
        left = "speaker is answered" if loud["left_out"] == "speaker" else "clip is answered"
        yield from ("", f"Loudness alone: a line from level to truth; each {left} by one through all the others.")


def _lacking(result: Result) -> Iterator[str]:
    if not result["truth"]["teacher"] and "dominance" not in result["ccc"]:
        yield from ("", "Nobody rated dominance.")


def _slices(result: Result, derived: Sequence[str]) -> Iterator[str]:
    shown = [(name, value, part) for name in SLICES for value, part in result["slices"].get(name, {}).items()]
    if not shown:
        return
    axes = [axis for axis, _ in _scores(result)]
    yield from ("", _row(["", "clips", *(_named(axis, derived) for axis in axes)]), _row(["---"] * (len(axes) + 2)))
    for name, value, part in shown:
        yield _row([f"{name} {value}", str(part["n"]), *(_of(part["ccc"], axis) for axis in axes)])
    if "snr" in result["slices"]:
        yield from ("", "SNR is estimated from the recordings, unless the table brings it (`docs/evaluation.md`).")


def _robustness(result: Result, derived: Sequence[str]) -> Iterator[str]:
    """CCC of the same clips under the conditions of `distill evaluate --robustness`."""
    axes = [axis for axis, _ in _scores(result)]
    yield from ("", "CCC on the same clips, changed (`docs/evaluation.md`); in brackets how much of it is lost:", "")
    head = ["", *(_named(axis, derived) for axis in axes), "promised"]
    yield from (_row(head), _row(["---"] * len(head)))
    for name, found in result["robustness"]["conditions"].items():
        yield _row([name, *(_lost(found, axis) for axis in axes), _promise(found)])


def _lost(found: Mapping[str, Any], axis: str) -> str:
    if found["ccc"].get(axis) is None:
        return "-"
    return f"{found['ccc'][axis]:.3f} ({round(found['drop'][axis]['value'], 3) + 0.0:+.3f})"  # no "-0.000"


def _promise(found: Mapping[str, Any]) -> str:
    if found["passed"] is None:
        return "-"
    kept = "kept" if found["passed"] else "NOT kept"
    drop, change = found["limit"]["drop"], found["limit"]["change"]
    return f"at most {drop:g} lost: {kept}" if drop is not None else f"no answer moves by more than {change:g}: {kept}"


def _scores(result: Result) -> list[tuple[str, Mapping[str, float]]]:
    found = result["ccc"]
    return [(axis, found[axis]) for axis in AXES if found.get(axis) and found[axis]["value"] is not None]


def _of(scores: Mapping[str, Any], axis: str) -> str:
    found = scores.get(axis)
    return scored(found) if found and found["value"] is not None else "-"


def _share(ratio: Mapping[str, float] | None) -> str:
    return "-" if ratio is None else f"{ratio['value']:.1%} ({ratio['low']:.1%} to {ratio['high']:.1%})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _named(axis: str, derived: Sequence[str]) -> str:
    return f"{axis} (derived)" if axis in derived else axis

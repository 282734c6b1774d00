"""Comparisons of teachers as Markdown: on one truth, and on several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.annotation import AXES


def as_table(result: Mapping[str, Any]) -> str:
    """The comparison on one truth (`teacher.comparing`)."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    axes = [axis for axis in AXES if any(axis in one["ccc"] for one in result["teachers"].values())]
    recalls = list(dict.fromkeys(column for one in result["teachers"].values() for column in one["uar"]))
    columns = ["teacher", "method", "backbone", "parameters", *(f"{axis} CCC" for axis in axes),
               *(f"{column} UAR" for column in recalls), "learned", "seconds a clip"]  # fmt: skip
    yield f"# Teachers on {result['truth']}"
    yield ""
    yield f"{result['n']} clips that all of them answered, {result['failed']} that one of them could not."
    yield "95 % intervals over clips. Seconds: wall time, one clip after the other, in turns, median (10 % to 90 %)."
    yield "Parameters: of the whole teacher, its backbone and head; learned: those of them that were trained."
    yield ""
    yield _row(columns)
    yield _row(["---"] * len(columns))
    for name, one in result["teachers"].items():
        scores = [_score(one["ccc"].get(axis)) for axis in axes]
        scores += [_score(one["uar"].get(column)) for column in recalls]
        learned = "" if one["trainable"] is None else f"{one['trainable']:,}"
        pace = f"{one['seconds']['median']:.3g} ({one['seconds']['p10']:.3g} to {one['seconds']['p90']:.3g})"
        yield _row([Path(name).name, one["method"] or "", Path(one["backbone"] or "").name,
                    f"{one['parameters']:,}", *scores, learned, pace])  # fmt: skip
    yield ""
    yield "Published, on other recordings, and so no rivals of the rows above:"
    yield ""
    yield _row(["teacher", *(f"{axis} CCC" for axis in AXES), "on", "by"])
    yield _row(["---"] * (len(AXES) + 3))
    for said in result["published"]:
        yield _row([said["teacher"], *(f"{said['ccc'][axis]:.3f}" for axis in AXES), said["on"], said["by"]])


def across_as_table(result: Mapping[str, Any]) -> str:
    """The comparison on several truths (`teacher.across`): a table an axis, a row a teacher, a column a truth."""
    return "\n".join(_lines_across(result)) + "\n"


def _lines_across(result: Mapping[str, Any]) -> Iterator[str]:
    corpora, teachers = result["corpora"], result["teachers"]
    yield f"# {len(teachers)} teachers on {len(corpora)} corpora"
    yield ""
    yield "CCC, and UAR of what is told apart, with 95 % intervals over the clips that all answered. Where a teacher"
    yield "has learned from a corpus, its cell there is no measure of what it does with others."
    yield ""
    yield _row(["corpus", "truth", "audio", "clips", "not answered by all"])
    yield _row(["---"] * 5)
    for corpus, about in corpora.items():
        yield _row([corpus, about["truth"], about["audio"], str(about["n"]), str(about["failed"])])
    for kind, measure in _measures(teachers):
        yield ""
        yield f"## {kind.upper()} of {measure}"
        yield ""
        yield _row(["teacher", *corpora])
        yield _row(["---"] * (1 + len(corpora)))
        for name, found in teachers.items():
            yield _row([Path(name).name, *(_score(of[kind].get(measure)) for of in found.values())])


def _measures(teachers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[tuple[str, str]]:
    """What at least one teacher has on one corpus: CCC of the axes in their order, then UAR."""
    scores = [of for found in teachers.values() for of in found.values()]
    recalls = dict.fromkeys(column for of in scores for column in of["uar"])
    return [("ccc", axis) for axis in AXES if any(axis in of["ccc"] for of in scores)] + [("uar", x) for x in recalls]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _score(score: Mapping[str, float] | None) -> str:
    return "" if score is None else f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"

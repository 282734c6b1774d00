"""The comparison of few labels as a page: levels of both starts, and what the pre-training gained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def as_table(result: Mapping[str, Any]) -> str:
    """The result of `few_labels` as Markdown."""
    return "\n".join(_lines(result))


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Few labels of {result['labels']}"
    yield ""
    yield (
        f"The views {result['views']} ({result['revision']}; {result['trained_on']}) against the same encoders "
        f"untrained, `--method {result['method']}`, equal in all else. For each of {result['seeds']} seeds about a "
        f"quarter of the {result['speakers']} speakers is tested on and k clips of the others are learned from "
        f"({result['clips']} clips in all), those that end the training early included. Means over the seeds, with "
        "95 % intervals over the seeds by Student's t; one pre-training stands behind all of them, and "
        f"{len({tuple(tested) for tested in result['tested'].values()})} different sets of speakers were tested on."
    )
    yield ""
    yield "| k | measure | untrained | pre-trained | gain |"
    yield "| --- | --- | --- | --- | --- |"
    for k, measures in result["k"].items():
        for measure, of in measures.items():
            levels = f"{_cell(of['untrained'])} | {_cell(of['pretrained'])}"
            yield f"| {k} | {measure} | {levels} | {_cell(of['gain'], '+')} |"
    yield ""
    yield _verdict(result)
    for column, names in result["classes"].items():
        yield ""
        yield f"By chance the UAR of {column} would be {1 / len(names):.3f} ({len(names)} classes)."


def _cell(of: Mapping[str, float], sign: str = "") -> str:
    return f"{of['value']:{sign}.3f} [{of['low']:{sign}.3f}, {of['high']:{sign}.3f}]"


def _verdict(result: Mapping[str, Any]) -> str:
    """Which gains are none that the seeds could have made up."""
    gains = {
        f"{measure} at k = {k}": of["gain"] for k, measures in result["k"].items() for measure, of in measures.items()
    }
    above = [name for name, gain in gains.items() if gain["low"] > 0]
    below = [name for name, gain in gains.items() if gain["high"] < 0]
    return (
        f"Of {len(gains)} gains the interval lies above zero for {len(above)}{_named(above)}, below zero for "
        f"{len(below)}{_named(below)}, and holds zero for the others."
    )


def _named(names: list[str]) -> str:
    return f" ({', '.join(names)})" if names else ""

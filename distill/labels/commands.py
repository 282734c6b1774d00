"""The commands of label tables that are there: labels show, merge, to-audformat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from distill.options import existing, json_option, output_option, show


@click.group()
def labels() -> None:
    """Look at label tables, put them together, hand them on.

    \b
    Example:
      distill labels show labels/
    """


@labels.command("show")
@click.argument("folder", metavar="LABELS", type=existing)
@click.option("--plot", type=existing, help="HTML page to write, with histograms of answers and spreads.")
@json_option
def show_labels(folder: Path, plot: Path | None, as_json: bool) -> Any:
    """Say what a label table holds, finished or not: counts, hours, teacher, licences, answers, spreads, failures.

    \b
    Example:
      distill labels show labels/ --plot labels.html
    """
    from distill.labels.summary import show as run

    return show(run(folder, plot=plot), as_json, lambda found: "\n".join(_described(found)))


@labels.command()
@click.argument("folders", metavar="LABELS...", type=existing, nargs=-1, required=True)
@output_option("New folder for the merged table.")
@json_option
def merge(folders: tuple[Path, ...], output: Path, as_json: bool) -> Any:
    """Merge label tables of one teacher, made alike, into a new one; every segment once, under the strictest licences.

    \b
    Example:
      distill labels merge monday/ tuesday/ -o labels/
    """
    from distill.labels.merging import merge as run

    return show(run(folders, output=output), as_json, _merged)


def _merged(found: dict[str, Any]) -> str:
    return (
        f"{found['rows']:,} rows ({found['audio_seconds'] / 3600:.2f} hours of audio), {found['duplicates']:,} left "
        f"out that came again, {found['failed']} failed: {found['output']}; files are below {found['root']}"
    )


@labels.command("to-audformat")
@click.argument("folder", metavar="LABELS", type=existing)
@click.option("-o", "--output", type=existing, help="CSV to write, with a segmented index.")
@click.option("--database", type=existing, help="New folder for an audformat database (needs audformat).")
@json_option
def to_audformat(folder: Path, output: Path | None, database: Path | None, as_json: bool) -> Any:
    """Write a label table in the form of audformat: file, start, end, and a column an axis and a spread.

    \b
    Example:
      distill labels to-audformat labels/ -o table.csv
    """
    from distill.labels.exchange import to_audformat as run

    return show(run(folder, output=output, database=database), as_json, _handed_on)


def _handed_on(found: dict[str, Any]) -> str:
    places = " and ".join(str(found[name]) for name in ("output", "database") if found[name] is not None)
    return f"{found['rows']:,} rows ({', '.join(found['columns'])}): {places}; files are below {found['root']}"


def _described(found: dict[str, Any]) -> Iterator[str]:
    state = "complete" if found["complete"] else "UNFINISHED, this is what is there so far"
    yield f"{found['labels']}: {state}"
    yield f"{found['rows']:,} rows, {found['audio_hours']:.2f} hours of audio, {found['failed']:,} failed"
    derived = f" ({', '.join(found['derived'])} derived)" if found["derived"] else ""
    yield f"teacher {found['teacher']}, revision {found['revision']}: {', '.join(found['axes'])}{derived}"
    yield (
        f"licences: weights {found['licence']}; trained on {found['data_licence']}; recordings {found['audio_licence']}"
    )
    made = found["arguments"]
    if "window" in made:
        yield f"window {made['window']} s, hop {made['hop']} s, views {made.get('views', 1)}"
    for title, key in (("answers", "answers"), ("spread", "spread")):
        yield from _table(title, found[key])
    for reason, count in found["failures"].items():
        yield f"failed {count:,}: {reason}"


def _table(title: str, distributions: dict[str, Any]) -> Iterator[str]:
    if not distributions:
        return
    percents = list(next(iter(distributions.values()))["percentiles"])
    names = ["mean", "std", "min", *(f"{percent} %" for percent in percents), "max"]
    yield f"{title:<10}" + "".join(f"{name:>8}" for name in names)
    for axis, one in distributions.items():
        values = [one["mean"], one["std"], one["min"], *one["percentiles"].values(), one["max"]]
        yield f"{axis:<10}" + "".join(f"{value:>8.3f}" for value in values)

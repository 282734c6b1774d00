"""Ablation: one training repeated with one ingredient changed at a time, over several seeds; each repetition a run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from distill.comparison import Repetition, as_table, compared, read_answers
from distill.errors import DistillError
from distill.files import read_json, reject_no_json, sha256_of, write_json, write_text
from distill.progress import duration, say
from distill.recipe import read_recipe, run_command, typed_stage, typed_stages
from distill.runs import read_result

KEYS = ("prepare", "train-student", "evaluate", "seeds", "folder", "variants")

#: In each run's folder: the commands that made what lies there (what others made is not counted), and its student.
COMMANDS = "ablation.json"
STUDENT = "float.onnx"

#: Options that are set for each run, so that nobody else may.
OWN = {"train-student": ("output", "seed"), "evaluate": ("student", "teacher", "predictions", "output")}


@dataclass(frozen=True)
class Run:
    """A variant with one seed. commands: its training, export and evaluations as typed; truths: {truth: answers}."""

    variant: str
    seed: int
    folder: Path
    commands: list[list[str]]
    truths: dict[str, Path]

    def finished(self) -> bool:
        """Whether it lies there, made by these very commands."""
        made_by = self.folder / COMMANDS
        return made_by.is_file() and read_json(made_by) == self.commands

    def doing(self) -> list[str]:
        """What each command does, in a word."""
        return ["training", "exporting", *(f"evaluating against {truth}" for truth in self.truths)]


@dataclass(frozen=True)
class Ablation:
    """What the file says, checked. prepare: commands as typed; variants: {name: options}, the first the reference."""

    path: Path
    prepare: list[list[str]]
    common: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]]
    seeds: int
    runs: list[Run]  # seed by seed, so that an interrupted ablation has all variants of the first ones


def ablate(recipe: str | Path, *, output: str | Path, only: Collection[str] = ()) -> dict[str, Any]:
    """Train, export and evaluate every variant with every seed, and compare; what is done is not done again.

    recipe: a YAML file (docs/ablation.md). output: JSON to write; the table lies beside it as Markdown. only: names of
    variants; the others are compared as far as they have been run before.

    Every stage is checked before the first one runs. A run that fails is named, and does not stop the others.

    Returns {recipe: {file, sha256, train-student}, seeds, variants: {name: see `distill.comparison.compared`}, failed:
    [{variant, seed, reason}]}.

    Raises:
        DistillError: a file that is no such recipe, an unknown key, option or variant, or preparation that failed.
    """
    output = Path(output)
    ablation = read_ablation(Path(recipe))
    reject_no_json(output)
    return carry_out(ablation, lambda result: _write(output, result), only=only)


def carry_out(
    ablation: Ablation, write: Callable[[dict[str, Any]], None], *, only: Collection[str] = ()
) -> dict[str, Any]:
    """Run what an ablation says, as `ablate` does, and return its result. write: is given it after every seed.

    Raises:
        DistillError: an unknown variant, or preparation that failed.
    """
    chosen = chosen_runs(ablation, only)
    for typed in ablation.prepare:
        _prepare(typed)
    failed: list[dict[str, Any]] = []
    for run, told in zip(chosen, _announced(chosen, ablation.seeds), strict=True):
        failed += _tried(run, told)
        if run.variant == chosen[-1].variant:  # a seed is through
            write(_result(ablation, failed))
    return _result(ablation, failed)


# --- the file --------------------------------------------------------------------------------------------------------


def read_ablation(path: Path) -> Ablation:
    """Read the file, and check every option of every stage.

    Raises:
        DistillError: no such file, a key that is missing or unknown, or a value that a command refuses.
    """
    return ablation_of(read_recipe(path, f"an ablation maps {', '.join(KEYS)}"), path)


def ablation_of(said: Mapping[str, Any], path: Path) -> Ablation:
    """What a file maps, checked as `read_ablation` does.

    Raises:
        DistillError: a key that is missing or unknown, or a value that a command refuses.
    """
    if unknown := [key for key in said if key not in KEYS]:
        raise DistillError(f"{path}: no key {unknown[0]!r}; an ablation has {', '.join(KEYS)}")
    common = _options(said.get("train-student"), "train-student", "train-student", path)
    truths = _named(said.get("evaluate"), "evaluate", "evaluate", path)
    variants = _named(said.get("variants"), "variants", "train-student", path)
    seeds, folder = said.get("seeds"), said.get("folder")
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise DistillError(f"{path}: seeds is {seeds!r}; it must be a number from 1")
    if not isinstance(folder, str):
        raise DistillError(f"{path}: folder must say where the runs go")
    prepare = typed_stages(_options(said.get("prepare"), "prepare", "prepare", path), path)
    runs = [
        _run(Path(folder), name, seed, {**common, **options}, truths, path)
        for seed in range(seeds)
        for name, options in variants.items()
    ]
    return Ablation(path, prepare, common, variants, seeds, runs)


def slug(name: str) -> str:
    """A name as a folder's.

    >>> slug("from people's ratings alone")
    'from-people-s-ratings-alone'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "variant"


def _named(given: Any, key: str, stage: str, path: Path) -> dict[str, dict[str, Any]]:
    """{name: options of the stage}; the names have to be told apart as files, too."""
    if not isinstance(given, dict) or not given:
        raise DistillError(f"{path}: {key} is missing, or maps nothing")
    named = {str(name): _options(options, str(name), stage, path) for name, options in given.items()}
    if len({slug(name) for name in named}) < len(named):
        raise DistillError(f"{path}: two of {', '.join(named)} would share a folder or file; name them apart")
    return named


def _options(given: Any, name: str, stage: str, path: Path) -> dict[str, Any]:
    """What stands under a name: options of a stage, of which none is set for each run."""
    if not isinstance(given, dict | None):
        raise DistillError(f"{path}: {name} needs its options as key: value")
    if own := [key for key in given or {} if key in OWN.get(stage, ())]:
        raise DistillError(f"{path}: {stage}: {own[0]!r} is set for each run; leave it out")
    return dict(given or {})


def _run(
    folder: Path, variant: str, seed: int, options: Mapping[str, Any], truths: Mapping[str, Mapping[str, Any]],
    path: Path,
) -> Run:  # fmt: skip
    """A run and the commands that make it, checked."""
    folder = folder / slug(variant) / f"seed-{seed}"
    student = folder / STUDENT
    against = {truth: folder / f"against-{slug(truth)}.json" for truth in truths}
    stages: list[tuple[str, Mapping[str, Any]]] = [
        ("train-student", {**options, "output": folder, "seed": seed}),
        ("export", {"run": folder, "output": student}),
        *(("evaluate", {**truths[truth], "student": student, "output": against[truth]}) for truth in truths),
    ]
    commands = [typed_stage(stage, given, path) for stage, given in stages]
    return Run(variant, seed, folder, commands, {truth: _answers(json) for truth, json in against.items()})


def _answers(evaluation: Path) -> Path:
    """Where `distill evaluate` leaves the answers per clip."""
    return evaluation.with_suffix(".predictions.csv")


def chosen_runs(ablation: Ablation, only: Collection[str]) -> list[Run]:
    """The runs of these variants, of all if there are none.

    Raises:
        DistillError: a name of no variant.
    """
    if unknown := [name for name in only if name not in ablation.variants]:
        raise DistillError(f"{ablation.path}: no variant {unknown[0]!r}; there are {', '.join(ablation.variants)}")
    return [run for run in ablation.runs if not only or run.variant in only]


# --- the runs --------------------------------------------------------------------------------------------------------


def _prepare(typed: list[str]) -> None:
    """Run a stage of the preparation; training a teacher, which cannot tell that it is done, only if it is not."""
    if typed[0] == "train-teacher":
        output = Path(typed[typed.index("--output") + 1])
        if any(output.glob("*.json")):  # the card, which is written last
            say(f"{output}: already trained")
            return
    run_command(typed, quiet=True)


def _announced(runs: Sequence[Run], seeds: int) -> Iterator[str]:
    """For each run what to say before it: where we are, and what is left."""
    left = sum(read_result(run.folder) is None for run in runs)
    took: list[float] = []
    for run in runs:
        missing, began = read_result(run.folder) is None, time.monotonic()
        ahead = f"{left} of {len(runs)} runs to train"
        rest = f", about {duration(left * sum(took) / len(took))}" if took and left else ""
        yield f"seed {run.seed + 1} of {seeds}, {run.variant}: {{}} ({ahead}{rest})"
        left -= missing
        if missing and read_result(run.folder) is not None:
            took.append(time.monotonic() - began)


def _tried(run: Run, told: str) -> list[dict[str, Any]]:
    """Train, export, evaluate; what failed, if it did."""
    try:
        for typed, doing in zip(run.commands, run.doing(), strict=True):
            if typed[0] != "export" or not (run.folder / STUDENT).is_file():
                say(told.format(doing))
                run_command(typed, quiet=True)
        write_json(run.folder / COMMANDS, run.commands)
    except click.Abort:
        raise
    except Exception as error:  # whatever it is: hours of other runs do not wait for somebody to read it
        reason = f"{error}" if isinstance(error, DistillError) else f"{type(error).__name__}: {error}"
        say(f"{run.variant}, seed {run.seed}: failed ({reason}); the others go on")
        return [{"variant": run.variant, "seed": run.seed, "reason": reason}]
    return []


# --- the result ------------------------------------------------------------------------------------------------------


def _result(ablation: Ablation, failed: list[dict[str, Any]]) -> dict[str, Any]:
    """All variants compared, as far as they have been run."""
    finished = {name: [_repetition(run) for run in ablation.runs if run.variant == name and run.finished()]
                for name in ablation.variants}  # fmt: skip
    figures = compared(finished)
    return {
        "recipe": {"file": ablation.path.name, "sha256": sha256_of(ablation.path), "train-student": ablation.common},
        "seeds": ablation.seeds,
        "variants": {name: {"options": ablation.variants[name], **of} for name, of in figures.items()},
        "failed": failed,
    }


def _repetition(run: Run) -> Repetition:
    result = read_result(run.folder) or {}
    return Repetition(run.seed, result["seconds"], {truth: read_answers(path) for truth, path in run.truths.items()})


def _write(output: Path, result: dict[str, Any]) -> None:
    write_text(output.with_suffix(".md"), as_table(result) + "\n")
    write_json(output, result)

"""`distill sweep`: many students of one family, each trained and measured alike, and what their CCC costs a device."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import machine, pareto, sweep_report
from benchmarks.budget import Budget, misfits
from benchmarks.footprint import footprint
from benchmarks.sweep_report import RECORD, read_made
from distill.ablation import Ablation, ablation_of, carry_out, chosen_runs
from distill.errors import DistillError
from distill.files import plain, reject_unwritable, sole_writer, write_json, write_text
from distill.progress import Progress, say
from distill.recipe import read_recipe
from distill.runs import read_result
from students.catalogue import build, figures
from students.family import written

KEYS = ("prepare", "train-student", "evaluate", "seeds", "folder", "members")

Record = dict[str, Any]


def sweep(recipe: str | Path, *, output: str | Path, fits: Budget | None = None, only: Collection[str] = ()) -> Record:
    """Train, export and evaluate every member of a family, and write sweep.json, report.html and report.md into the
    folder `output`; what is done is not done again.

    recipe: a YAML file (docs/sweep.md). fits: who can never fit is told before the first training. only: names of
    members; the others are told as far as they have been trained before.

    Every member is built, and its export tried, before the first one is trained. One that fails is named, and does not
    stop the others.

    Returns what sweep.json holds: {recipe: {file, sha256, train-student}, machine, seeds, members: [{name, arch,
    parameters: that train, macs_per_second, tokens_per_second, hop_ms, flash, ram: {part: bytes}, flash_bytes,
    ram_bytes: estimates (`benchmarks.footprint`), None where nothing is known, seeds, seconds, derived, ccc and
    difference: the truths and differences of `distill.comparison.compared`}], fronts: see `benchmarks.pareto.fronts`,
    failed: [{variant, seed, reason}]}.

    Raises:
        Refused: another process writes there.
        DistillError: a file that is no such recipe, a member that cannot be built or exported, an output that cannot be
            written, a budget that no member fits, or preparation that failed.
    """
    output, ablation = Path(output), read_sweep(Path(recipe))
    chosen = chosen_runs(ablation, only)
    taken = members(ablation)
    if fits is not None:
        _tell_misfits(taken, fits)
    _reject_unwritable(output)
    with sole_writer(output):
        _try_exports({run.variant: _arch(ablation, run.variant) for run in chosen if not run.finished()})
        carry_out(ablation, lambda result: _write(output, _record(ablation, taken, result)), only=only)
    return read_made(output)


def costs(recipe: str | Path) -> Record:
    """What the members of a recipe cost, as `sweep` returns it: nothing is trained, and nothing measured.

    Raises:
        DistillError: a file that is no such recipe, or a member that cannot be built.
    """
    ablation = read_sweep(Path(recipe))
    found = [{**member, "seeds": [], "seconds": None, "derived": [], "ccc": {}, "difference": {}}
             for member in members(ablation)]  # fmt: skip
    return {"members": found, "seeds": 0, "fronts": {}, "failed": []}


# --- the recipe ------------------------------------------------------------------------------------------------------


def read_sweep(path: Path) -> Ablation:
    """Read the file: an ablation whose variants differ in what is trained. Every option of every stage is checked.

    Raises:
        DistillError: no such file, a key that is missing or unknown, a value that a command refuses, or a member that
            cannot be.
    """
    said = read_recipe(path, f"a sweep maps {', '.join(KEYS)}")
    if unknown := [key for key in said if key not in KEYS]:
        raise DistillError(f"{path}: no key {unknown[0]!r}; a sweep has {', '.join(KEYS)}")
    given = said.pop("members", None)
    if not isinstance(given, dict) or not given:
        raise DistillError(f"{path}: members is missing, or names nobody")
    if "arch" in (said.get("train-student") or {}):
        raise DistillError(f"{path}: train-student: 'arch' is set for each member; leave it out")
    spread = [each for entry in given.items() for each in _spread(*entry, path)]
    variants = {name: {"arch": arch} for name, arch in spread}
    if len(variants) < len(spread):
        raise DistillError(f"{path}: two members would go by one name; name them apart")
    return ablation_of({**said, "variants": variants}, path)


def _spread(name: Any, given: Any, path: Path) -> list[tuple[str, str]]:
    """(name, arch) of what stands under a name: a student's name, or keys of the family, of whose lists every
    combination is a member."""
    if isinstance(given, str):
        return [(str(name), given)]
    if not isinstance(given, dict) or not given:
        raise DistillError(f"{path}: {name} needs a student's name, or what it is made of as key: value")
    lists = {key: values for key, values in given.items() if isinstance(values, list)}
    if empty := [key for key, values in lists.items() if not values]:
        raise DistillError(f"{path}: {name}: the list of {empty[0]} is empty")
    taken = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    return [(", ".join([str(name), *(f"{key} {value}" for key, value in some.items())]), written({**given, **some}))
            for some in taken]  # fmt: skip


def _arch(ablation: Ablation, name: str) -> str:
    return str(ablation.variants[name]["arch"])


# --- before the first training ---------------------------------------------------------------------------------------


def members(ablation: Ablation) -> list[Record]:
    """What each member costs, told without a training: as in sweep.json.

    Raises:
        DistillError: one cannot be built.
    """
    found = []
    with Progress("counting", len(ablation.variants), "members") as bar:
        for name in ablation.variants:
            found.append(_costs(name, _arch(ablation, name), ablation.path))
            bar.advance()
    return found


def _costs(name: str, arch: str, path: Path) -> Record:
    try:
        counted, taken = figures(arch), footprint(build(arch))
    except DistillError as error:
        raise DistillError(f"{path}: {name}: {error}") from None
    return {
        "name": name, "arch": arch, "parameters": counted.trainable, "macs_per_second": counted.macs_per_second,
        "tokens_per_second": counted.tokens_per_second, "hop_ms": counted.hop_ms,
        "flash": taken and taken.flash, "ram": taken and taken.ram,
        "flash_bytes": taken and taken.flash_bytes, "ram_bytes": taken and taken.ram_bytes,
    }  # fmt: skip


def _tell_misfits(taken: Sequence[Record], fits: Budget) -> None:
    """Who will not fit, however well it learns."""
    for name, reason in misfits(taken, fits).items():
        say(f"{name} can never fit: {reason}")


def _reject_unwritable(output: Path) -> None:
    try:
        reject_unwritable(output / RECORD)
    except OSError as error:
        raise DistillError(f"{output}: the report cannot be written there ({error.strerror})") from None


def _try_exports(archs: Mapping[str, str]) -> None:
    """Fail before spending: of every member that is still to be trained, untrained as it is."""
    from export import check

    if not archs:
        return
    with Progress("trying exports", len(archs), "members") as bar:
        for name, arch in archs.items():
            check.export_untrained(build(arch).eval(), name)
            bar.advance()


# --- the result ------------------------------------------------------------------------------------------------------


def _record(ablation: Ablation, taken: Sequence[Record], result: Mapping[str, Any]) -> Record:
    """What sweep.json holds, as far as members have been measured."""
    found = [_measured(member, result["variants"][member["name"]], ablation) for member in taken]
    return {
        "recipe": result["recipe"], "machine": machine.describe(), "seeds": result["seeds"], "members": found,
        "fronts": pareto.fronts(found), "failed": result["failed"],
    }  # fmt: skip


def _measured(member: Record, of: Mapping[str, Any], ablation: Ablation) -> Record:
    """A member with what came of its runs."""
    results = [read_result(run.folder) for run in ablation.runs if run.variant == member["name"] and run.finished()]
    derived = dict.fromkeys(axis for result in results if result for axis in result["derived"])
    return {**member, "seeds": of["seeds"], "seconds": of["seconds"], "derived": list(derived), "ccc": of["truths"],
            "difference": of["difference"]}  # fmt: skip


def _write(output: Path, record: Record) -> None:
    """The JSON first: should a page fail, the measurement is not lost."""
    record = dict(plain(record))
    write_json(output / RECORD, record)
    write_text(output / "report.html", sweep_report.render(record))
    write_text(output / "report.md", sweep_report.markdown(record))

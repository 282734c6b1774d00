"""What pre-training brings where labels are few: the same tuning from pre-trained views and from untrained ones.

For every seed speakers are drawn to test on, and clips of the others to learn from; both starts see the same clips in
the same order, and differ in nothing but the weights of the encoders.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from distill import runs
from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import read_json, sole_writer, write_csv, write_json, write_text
from distill.learning.clips import Clips, cache
from distill.learning.device import choose_device, keep_freed_memory
from distill.learning.loop import answers
from distill.metrics import over_seeds
from distill.progress import duration, say
from distill.sources.manifest import Segment
from teacher.contrastive.backbone import ViewsBackbone
from teacher.contrastive.folder import write_views
from teacher.contrastive.pretraining import untrained
from teacher.contrastive.report import as_table
from teacher.published.folder import read_config
from teacher.training import train_teacher
from teacher.tuning.backbone import Origin, find_backbone, open_backbone
from teacher.tuning.batches import whole_batches
from teacher.tuning.conditioning import SEX
from teacher.tuning.design import Classes, columns_of
from teacher.tuning.lessons import SPEAKER, Lessons, read_lessons
from teacher.tuning.objective import score
from teacher.tuning.options import CATEGORY, TASKS, VIEWS
from teacher.tuning.saving import SHORTEST_SECONDS, read_network

#: What is tuned: views that were pre-trained, and the same encoders as the pre-training began with.
PRETRAINED, UNTRAINED = "pretrained", "untrained"

#: Of all speakers, those that are tested on.
TESTED = 0.25

#: How often speakers are drawn before it is said that too few clips are left.
_DRAWS = 1000

#: In the report's folder.
_CELLS, _CACHE, _REPORT = "cells", "cache", "few_labels"

#: Columns of the tables that are learned from.
_COLUMNS = ("file", "start", "end", SPEAKER, *AXES, CATEGORY)


def few_labels(
    views: str | Path,
    *,
    labels: str | Path,
    output: str | Path,
    audio: str | Path | None = None,
    where: Mapping[str, str] | None = None,
    k: Sequence[int] = (50, 100, 200),
    seeds: int = 5,
    method: str = "full",
    task: str = "both",
    epochs: int = 60,
    patience: int = 20,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    speaker_from: str | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Tune `views` and the same encoders untrained on `k` labels each, with several seeds, and compare them on speakers
    that neither has heard; writes `few_labels.json` and `few_labels.md` into `output`. Cells that are done are skipped.

    views: a folder that `pretrain_views` wrote. labels, audio, where, task, speaker_from: as of
    `teacher.tuning.lessons.read_lessons`. k: how many clips are learned from, train-teacher's own held-out share of
    them included; the fewer are among the more. method, epochs, patience, batch_size, learning_rate: as of
    `tune_teacher`.

    Returns {views, revision, trained_on, labels, clips, speakers, classes, tested: {seed: speakers}, seeds, k: {k:
    {measure: {untrained, pretrained, gain}}}, seconds} and the options, each {value, low, high, values}: mean
    over the seeds, its 95 % interval by Student's t, and what each seed gave; gain is pre-trained less untrained.

    Raises:
        Refused: `output` holds another comparison, or another process writes there.
        DistillError: no views, too few speakers or clips, a category that a draw lacks; said before anything is tuned.
    """
    output = Path(output)
    if seeds < 2 or not k:
        raise DistillError(f"--seeds {seeds}, -k {', '.join(map(str, k))}: at least two seeds and one k are compared")
    origin = find_backbone(str(views))
    if origin.family != VIEWS:
        raise DistillError(f"--views {views}: holds {origin.family}; `distill pretrain-views` writes views")
    lessons = read_lessons(
        Path(labels), audio=None if audio is None else Path(audio), where=where, tasks=TASKS[task],
        speaker_from=speaker_from,
    )  # fmt: skip
    options = {
        "method": method, "task": task, "epochs": epochs, "patience": patience, "batch_size": batch_size,
        "micro_batch": 2 * batch_size, "learning_rate": learning_rate, "device": device,
    }  # fmt: skip
    keep_freed_memory()
    with sole_writer(output):
        _begin(output, {**options, "most": max(k), "views": origin.revision, "labels_sha256": lessons.digest()})
        data = _decoded(lessons, output)
        draws = {seed: data.drawn(seed, max(k)) for seed in range(seeds)}
        cells = [
            Cell(output, seed, count, start)
            for seed in draws for count in sorted(set(k)) for start in (UNTRAINED, PRETRAINED)
        ]  # fmt: skip
        for cell in cells:
            _tell(cell, data, draws[cell.seed], task)
        starts = {PRETRAINED: origin.folder, UNTRAINED: _untrained(output / UNTRAINED, origin)}
        for cell in _announced(cells):
            _tune(cell, starts[cell.start], data, draws[cell.seed], options)
        result = {"labels": Path(labels).name, **_result(origin, data, draws, cells), **options}
        write_text(output / f"{_REPORT}.md", as_table(result) + "\n")
        write_json(output / f"{_REPORT}.json", result)
        shutil.rmtree(output / _CACHE)
    return {**result, "output": str(output)}


@dataclass(frozen=True)
class Cell:
    """One tuning: a seed, so many labels, one of the starts."""

    output: Path
    seed: int
    k: int
    start: str

    @property
    def table(self) -> Path:
        """What it learns from, the same for both starts."""
        return self.output / _CELLS / f"seed-{self.seed}" / f"k-{self.k}" / "labels.csv"

    @property
    def teacher(self) -> Path:
        """The teacher that comes of it."""
        return self.table.parent / self.start

    @property
    def result(self) -> Path:
        """How it did on the speakers that are tested on; there once it is done."""
        return self.table.parent / f"{self.start}.json"


@dataclass(frozen=True)
class Draw:
    """Clips of a seed: tested on, and learned from, of which k labels are the first k. Indices."""

    tested: np.ndarray
    learned: np.ndarray


@dataclass(frozen=True)
class _Data:
    """Rated clips that can be read: decoded, as segments of `root`, by speaker and sex ("" where nobody says)."""

    clips: Clips
    segments: Sequence[Segment]
    root: Path
    groups: Sequence[str]
    classes: tuple[Classes, ...]
    axes: tuple[str, ...]

    def drawn(self, seed: int, needed: int) -> Draw:
        """The clips of a seed, as of `draw`."""
        sexes = [str(segment.columns.get(SEX) or "").strip().lower() for segment in self.segments]
        kinds = [str(segment.columns.get(CATEGORY) or "").strip() for segment in self.segments]
        return draw(self.groups, sexes, kinds, seed, needed=needed)


def draw(groups: Sequence[str], sexes: Sequence[str], categories: Sequence[str], seed: int, *, needed: int = 1) -> Draw:
    """Draw about a quarter of the speakers to test on, of each sex that is known one at least, and bring the clips of
    the others into an order in which any first k are spread evenly over speakers and categories. All: [n].

    needed: clips that the others have to have; speakers are drawn until they do.

    >>> found = draw(["a", "a", "b", "b", "c", "c"], ["f", "f", "m", "m", "m", "m"], ["x", "y"] * 3, seed=0)
    >>> found.tested.tolist(), sorted(found.learned.tolist())
    ([0, 1, 4, 5], [2, 3])

    Raises:
        DistillError: no draw leaves so many.
    """
    rng = np.random.default_rng(seed)
    for _ in range(_DRAWS):
        tested = np.isin(groups, _speakers(groups, sexes, rng))
        if int((~tested).sum()) >= needed:
            break
    else:
        raise DistillError(
            f"-k {needed}: of {len(groups)} clips of {len(set(groups))} speakers not so many are left beside those "
            "that are tested on"
        )
    shuffled = rng.permutation(np.flatnonzero(~tested))
    seen: Counter[tuple[str, str]] = Counter()
    ranks = []
    for place in shuffled.tolist():
        kind = groups[place], categories[place]
        seen[kind] += 1
        ranks.append(seen[kind])
    return Draw(np.flatnonzero(tested), shuffled[np.argsort(ranks, kind="stable")])


def _speakers(groups: Sequence[str], sexes: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Those to test on."""
    speakers = rng.permutation(np.unique(groups)).tolist()
    sex_of = dict(zip(groups, sexes, strict=True))
    firsts = {sex_of[speaker]: speaker for speaker in reversed(speakers) if sex_of[speaker]}
    count = max(len(firsts), ceil(TESTED * len(speakers)))
    return list(dict.fromkeys([*firsts.values(), *speakers]))[:count]


def _begin(output: Path, config: Mapping[str, Any]) -> None:
    """Begin, or go on with the same comparison; more seeds and smaller k may come to it. Where nothing has been tuned
    yet, a corrected command takes the place of the one that failed."""
    if any((output / _CELLS).glob(f"*/*/*/{runs.CONFIG}")):
        runs.reject_other(output, config)
        return
    if (output / _CELLS).is_dir():
        shutil.rmtree(output / _CELLS)  # tables alone
    runs.begin(output, config)


def _decoded(lessons: Lessons, output: Path) -> _Data:
    examples = lessons.examples()
    places = {id(example): place for place, example in enumerate(examples)}
    clips, kept = cache(examples, output / _CACHE, shortest=SHORTEST_SECONDS)
    read = [places[id(example)] for example in kept]
    return _Data(
        clips, [lessons.segments[place] for place in read], lessons.root, [lessons.groups[place] for place in read],
        lessons.classes, lessons.axes,
    )  # fmt: skip


def _tell(cell: Cell, data: _Data, draw: Draw, task: str) -> None:
    """Write what a cell learns from, and find out whether it can be learned from."""
    if not cell.table.is_file():
        write_csv(cell.table, _COLUMNS, [_row(data, place) for place in draw.learned[: cell.k]])
    try:
        told = read_lessons(cell.table, audio=data.root, tasks=TASKS[task], seed=cell.seed)
    except DistillError as error:
        raise DistillError(f"-k {cell.k}: too few to learn from ({error}); take more") from None
    if (told.axes, told.classes) != (data.axes, data.classes):
        raise DistillError(f"-k {cell.k}: too few to have a clip of every axis and category among them; take more")


def _row(data: _Data, place: int) -> list[Any]:
    segment = data.segments[place]
    said = [segment.columns.get(name) for name in (*AXES, CATEGORY)]
    return [segment.file, segment.start, segment.end, data.groups[place].removeprefix("speaker "), *said]


def _announced(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Those that are not done yet, each with a line that says how long it will go on."""
    missing, began = [cell for cell in cells if not cell.result.is_file()], time.monotonic()
    for done, cell in enumerate(missing):
        go = f", {duration((time.monotonic() - began) / done * (len(missing) - done))} to go" if done else ""
        say(f"{done + 1} of {len(missing)}: {cell.k} labels, {cell.start}, seed {cell.seed}{go}")
        yield cell


def _untrained(folder: Path, origin: Origin) -> Path:
    """Write the encoders that the pre-training began with, standardised as they were then; gives the folder."""
    views, said = open_backbone(origin), read_config(origin.folder)
    assert isinstance(views, ViewsBackbone)
    fresh = untrained(views.config, said["seed"], stands_on=views.encoders.stands_on, speech=views.speech)
    fresh.encoders.load_state_dict({**fresh.encoders.state_dict(), **dict(views.encoders.named_buffers())})
    kept = {name: said[name] for name in ("licence", "data_licence", "seed")}
    write_views(folder, fresh, {"trained_on": "Nothing: random weights, to compare pre-trained ones with", **kept})
    return folder


def _tune(cell: Cell, start: Path, data: _Data, draw: Draw, options: Mapping[str, Any]) -> None:
    """Tune, and score on the speakers that are tested on."""
    made = train_teacher(
        cell.table, backbone=str(start), output=cell.teacher, audio=data.root, seed=cell.seed, **options
    )
    network, device = read_network(cell.teacher), choose_device(options["device"])
    heard = whole_batches(
        data.clips, draw.tested, batch_size=options["batch_size"], longest=network.backbone.longest_seconds
    )
    found = score(*answers(network.to(device), heard, device), columns_of(network.design.classes))
    scores = {f"{axis} CCC": value for axis, value in found["ccc"].items()}
    scores |= {f"{column} UAR": value for column, value in found.get("uar", {}).items()}
    told = {"epochs": made["epochs"], "seconds": made["seconds"], "n": len(draw.tested), "scores": scores}
    write_json(cell.result, told)


def _result(origin: Origin, data: _Data, draws: Mapping[int, Draw], cells: Sequence[Cell]) -> dict[str, Any]:
    """What stands in `few_labels.json`, but for the options."""
    return {
        "views": origin.name, "revision": origin.revision, "trained_on": read_config(origin.folder)["trained_on"],
        "clips": len(data.clips), "speakers": len(set(data.groups)), "classes": dict(data.classes),
        "tested": {seed: sorted({data.groups[place] for place in draw.tested}) for seed, draw in draws.items()},
        "seeds": len(draws), "k": _compared(cells),
        "seconds": sum(read_json(cell.result)["seconds"] for cell in cells),
    }  # fmt: skip


def _compared(cells: Sequence[Cell]) -> dict[int, Any]:
    """{k: {measure: {untrained, pretrained, gain}}}, each as `over_seeds` gives it."""
    found: dict[int, Any] = {}
    for k in dict.fromkeys(cell.k for cell in cells):
        sides = {
            start: [read_json(cell.result)["scores"] for cell in cells if (cell.k, cell.start) == (k, start)]
            for start in (UNTRAINED, PRETRAINED)
        }
        found[k] = {}
        for measure in sides[PRETRAINED][0]:
            before, after = (_values(sides[start], measure) for start in (UNTRAINED, PRETRAINED))
            gain = [one - other for one, other in zip(after, before, strict=True)]
            found[k][measure] = {
                UNTRAINED: over_seeds(before), PRETRAINED: over_seeds(after), "gain": over_seeds(gain)
            }  # fmt: skip
    return found


def _values(scores: Sequence[Mapping[str, float | None]], measure: str) -> list[float]:
    """Of each seed, NaN where it gave none."""
    said = [of.get(measure) for of in scores]
    return [float("nan") if value is None else value for value in said]

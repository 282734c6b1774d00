"""Training a student on a teacher's soft targets: label tables in, a run folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from distill import runs
from distill.annotation import AXES, Annotator
from distill.errors import DistillError
from distill.files import check_disk, read_json, sole_writer
from distill.learning.device import choose_device, choose_precision, laid_out, loaders, share_cores
from distill.learning.loop import Schedule, fit
from distill.learning.loss import LOSSES
from distill.learning.processes import Processes, meet
from distill.licences import require
from distill.perturb import Surroundings, surroundings
from distill.progress import say
from distill.table import LabelTable
from students import catalogue
from students.augmentation import ONLINE, Augmentation
from students.batches import TrainingBatches, clean_batches
from students.configuration import NO_PART, resolved
from students.finishing import finish
from students.hints import objective_of, weight_of_embedding
from students.lessons import read_lessons
from students.network import StudentNetwork
from students.passes import keep_passes
from students.split import decode_split

#: Bytes that a run may take beside its decoded clips.
_RUN_BYTES = 200_000_000

#: Seconds to wait for the folder where torchrun has started all anew: of a process that was killed, those that prepared
#: its batches, and hold the folder with it, end within five.
_LETTING_GO = 15.0

#: Tries to export an untrained network, so that what cannot be exported is known before the hours of training.
ExportCheck = Callable[[nn.Module, str], None]


def train_student(
    labels: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    arch: str = "wav2small",
    audio: str | Path | None = None,
    epochs: int | None = None,
    max_minutes: float | None = None,
    noise: str | Path | None = None,
    rir: str | Path | None = None,
    speaker_from: str | None = None,
    loss: str = "ccc",
    batch_size: int = 32,
    learning_rate: float | None = None,
    longest: float = 6.0,
    augment: Mapping[str, float] | None = None,
    online: bool = False,
    weight_by_spread: bool = False,
    annotated_passes: int = 0,
    match_embedding: float | None = None,
    relational: float = 0.0,
    calibrate: bool = False,
    require_licence: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    tensorboard: bool = False,
    export_check: ExportCheck | None = None,
    open_teacher: Callable[[str], Annotator] | None = None,
) -> dict[str, Any]:
    """Train a student on one or several label tables; called again after an interruption it goes on.

    arch: a name from `distill students`. audio: moves the root of the label tables. epochs, max_minutes: when to end
    (default: 30 epochs); with minutes the learning rate follows the time. noise, rir: folders of recordings; without
    them noise and rooms are synthesised. speaker_from: regular expression whose group is the speaker in a file's path.
    loss: one of `LOSSES`. learning_rate: the peak (default: the student's own). longest: seconds of a clip that are
    used. workers: processes that prepare batches (default: one, none on fewer than four cores).
    require_licence: a kind (`distill.licences.KINDS`) that the student's licences may not exceed.
    weight_by_spread: clips count the more, axis by axis, the surer the teacher was of them (`students.weighting`).
    augment: {perturbation: share of clips}, in place of the default's (`students.augmentation`).
    online: the tables' teacher, opened by `open_teacher`, annotates the voices as training changes and mixes them.
    annotated_passes: so many passes are annotated online and kept on disk, later ones take their voices; 0: all are.
    match_embedding, relational: weights of the hints (`distill.learning.objective`) beside the answers; 0: off. The
    first is 1 by default where a teacher in the loop gives an embedding (docs/ablation.md), else 0.
    calibrate: at the end a line an axis puts the answers on the teacher's scale (`students.calibration`).
    Several processes that torchrun started train one student together, batch_size clips each a step.

    Returns what stands in `result.json`: {ccc: {axis: {value, low, high}}, axes, derived, split, n, teacher, licence,
    data_licence, seconds}, on held-out speakers, against the teacher.

    Raises:
        Refused: a licence is too strict, `output` holds another run, or another process writes there.
        DistillError: labels, audio, disk or export cannot work; said before the first step.
    """
    output = Path(output)
    audio, noise, rir = (None if path is None else Path(path) for path in (audio, noise, rir))
    asked, match_embedding = match_embedding is not None, weight_of_embedding(match_embedding, online=online)
    given = {key: value for key, value in locals().items() if key not in (*NO_PART, "asked")}
    hints = {"match_embedding": match_embedding, "relational": relational}
    with meet() as processes, ExitStack() as held:
        with processes.in_turn():
            how = (ONLINE if online else Augmentation()).with_shares(augment or {})
            lessons = read_lessons(labels, by_spread=weight_by_spread, hints={} if online else hints)
            config = resolved({**given, "processes": 0 if processes.alone else processes.count}, lessons)
            require(
                require_licence, {"the student": config["licence"], "what it learns from": config["data_licence"]},
                say_it="of recordings `distill label --data-licence` says it",
            )  # fmt: skip
            if processes.first:
                held.enter_context(sole_writer(output, patience=0.0 if processes.alone else _LETTING_GO))
            finished = _begin(output, config, processes)
            if finished is not None:
                return finished
            if processes.first:
                _check_before(arch, output, lessons.tables, export_check)
            annotator = _teacher_of(lessons.tables, open_teacher) if online else None
            say(f"the student will be under {config['licence']}, from data under {config['data_licence']}")
            torch.manual_seed(seed)
            network, workers = catalogue.build(arch), loaders(workers)
            computing = _Computing.chosen(device, precision, network, processes)
            around = _around(noise, rir, seed)
            split = decode_split(lessons.examples(audio, speaker_from), output, seed=seed, decoded=not processes.first)
            say(f"{arch} {computing}: {len(split.clips)} clips, {len(split.held_out)} held out")
            slowest = how.speed_range[0]
            kept = keep_passes(output, annotated_passes, config, split, slowest) if annotated_passes else None
            batches = TrainingBatches(
                split.clips, split.train, around, augmentation=how, batch_size=batch_size, longest=longest, seed=seed,
                workers=workers, annotator=annotator, embeddings=any(hints.values()), kept=kept, processes=processes,
            )  # fmt: skip
            objective = objective_of(
                LOSSES[loss], network, split.clips, split.train, annotator, seed=seed, asked=asked, **hints
            )
            network.start_near(_mean_target(split.clips.targets[split.train]))
        share_cores(workers)
        weights = fit(
            laid_out(network), batches, lambda: clean_batches(split.clips, split.held_out, batch_size),
            objective=objective, schedule=Schedule(config["epochs"], max_minutes, config["learning_rate"]),
            folder=output, device=computing.device, precision=computing.precision, processes=processes,
            log=_tensorboard(output) if tensorboard and processes.first else lambda _: None,
        )  # fmt: skip
        with processes.in_turn():
            if processes.first:
                return finish(output, config, weights, split, computing.as_dict())
            return dict(read_json(output / runs.RESULT))


def _begin(output: Path, config: Mapping[str, Any], processes: Processes) -> dict[str, Any] | None:
    """Begin the run, or go on with it; the result of one that is finished already. The first process writes what the
    others find."""
    if processes.first:
        runs.begin(output, config)
    elif (output / runs.CONFIG).is_file():
        runs.reject_other(output, config)
    else:
        raise DistillError(f"{output}: the first process has begun a run there; name a folder that all machines share")
    finished = runs.read_result(output)
    if finished is not None:
        say(f"{output}: already trained")
    return finished


class _Computing(NamedTuple):
    """Where a run is computed, in what its products are, and by how many processes."""

    device: torch.device
    precision: torch.dtype
    processes: int

    @classmethod
    def chosen(cls, device: str, precision: str, network: StudentNetwork, processes: Processes) -> _Computing:
        processor = choose_device(device)
        products = choose_precision(precision, processor, reduced_on_cpu=network.reduced_on_cpu)
        return cls(processor, products, processes.count)

    def as_dict(self) -> dict[str, Any]:
        precision = str(self.precision).removeprefix("torch.")
        return {"device": self.device.type, "precision": precision, "processes": self.processes}

    def __str__(self) -> str:
        together = f", {self.processes} processes" if self.processes > 1 else ""
        return "on {device} in {precision}".format(**self.as_dict()) + together


def _check_before(arch: str, output: Path, tables: Sequence[LabelTable], export_check: ExportCheck | None) -> None:
    """Fail before spending: does the student export, is there disk, do the labels say anything?"""
    check_disk(output, bytes_needed=_RUN_BYTES)
    for labels in tables:
        columns = [axis for axis in enumerate(AXES) if axis[1] in labels.info["axes"]]
        constant = [axis for column, axis in columns if np.std(labels.adv[:, column]) < 1e-6]
        if constant:
            raise DistillError(
                f"{labels.folder}: {constant[0]} is the same in all {len(labels)} rows; nothing to learn"
            )
    if export_check is not None:
        say(f"checking that an untrained {arch} can be exported")
        export_check(catalogue.build(arch).eval(), arch)


def _teacher_of(tables: Sequence[LabelTable], open_teacher: Callable[[str], Annotator] | None) -> Annotator:
    """The teacher that made the tables, the very same."""
    made_by = {(labels.info["arguments"]["teacher"], labels.info["teacher"]["revision"]) for labels in tables}
    if open_teacher is None or len(made_by) > 1:
        raise DistillError("--online needs label tables of one teacher, and that teacher")
    ((name, revision),) = made_by
    annotator = open_teacher(name)
    if annotator.card.revision != revision:
        raise DistillError(
            f"{tables[0].folder}: was labelled by {name} {revision}, here it is {annotator.card.revision}; label again"
        )
    return annotator


def _around(noise: Path | None, rir: Path | None, seed: int) -> Surroundings:
    made = [name for name, folder in (("noise", noise), ("rooms", rir)) if folder is None]
    if made:
        say(f"{' and '.join(made)} for training are synthesised (--noise DIR and --rir DIR take recordings)")
    return surroundings(noise, rir, seed=seed)


def _mean_target(targets: np.ndarray) -> Tensor:
    """Mean of the known targets of each axis: [n, 3] -> [3]; 0 where an axis is lacking."""
    known = np.isfinite(targets)
    return torch.from_numpy((np.nan_to_num(targets).sum(0) / known.sum(0).clip(min=1)).astype(np.float32))


def _tensorboard(output: Path) -> Callable[[dict[str, Any]], None]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DistillError("--tensorboard needs tensorboard; from the checkout: pip install '.[tensorboard]'") from None
    writer = SummaryWriter(output / "tensorboard")

    def log(line: dict[str, Any]) -> None:
        writer.add_scalar("loss", line["loss"], line["step"])
        for axis, value in line["ccc"].items():
            writer.add_scalar(f"ccc/{axis}", value, line["step"])

    return log

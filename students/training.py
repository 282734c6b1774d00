"""Training a student on a teacher's soft targets: label tables in, a run folder out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill import runs, table
from distill.annotation import AXES, Annotator
from distill.errors import DistillError
from distill.files import sole_writer, whole, write_json
from distill.learning.device import choose_device, choose_precision, keep_freed_memory, loaders, share_cores
from distill.learning.loop import Schedule, answers, fit
from distill.learning.loss import LOSSES
from distill.learning.splits import groups_of, held_out
from distill.licences import require
from distill.metrics import agreement
from distill.perturb import surroundings
from distill.progress import say
from students import catalogue
from students.augmentation import ONLINE, Augmentation
from students.batches import TrainingBatches, clean_batches
from students.calibration import calibrate as calibrate_network
from students.clips import Clips, Example, cache, check_disk, examples, write_split
from students.configuration import NO_PART, resolved
from students.hints import embeddings_of, objective_of
from students.network import StudentNetwork
from students.passes import FOLDER, keep_passes
from students.weighting import weights_by_spread

#: Clips that travel with a run for the exporter, at most.
TRAVELLING = 400

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
    match_embedding: float = 0.0,
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
    match_embedding, relational: weights of the hints (`distill.learning.objective`) beside the answers' loss; 0: off.
    calibrate: at the end a line an axis puts the answers on the teacher's scale (`students.calibration`).

    Returns what stands in `result.json`: {ccc: {axis: {value, low, high}}, axes, derived, split, n, teacher, licence,
    data_licence, seconds}, on held-out speakers, against the teacher.

    Raises:
        Refused: a licence is too strict, `output` holds another run, or another process writes there.
        DistillError: labels, audio, disk or export cannot work; said before the first step.
    """
    output = Path(output)
    audio, noise, rir = (None if path is None else Path(path) for path in (audio, noise, rir))
    given = {key: value for key, value in locals().items() if key not in NO_PART}
    tables = [table.read(Path(folder)) for folder in ([labels] if isinstance(labels, (str, Path)) else labels)]
    for label in tables:
        table.check_info(label.folder, label.info, table.REQUIRED_TO_TEACH)
    how = (ONLINE if online else Augmentation()).with_shares(augment or {})
    weights = weights_by_spread(tables) if weight_by_spread else None
    wanted = {"match_embedding": match_embedding, "relational": relational}
    embeddings = None if online else embeddings_of(tables, **wanted)
    config = resolved(given, tables, weights, embeddings)
    require(require_licence, {"the student": config["licence"], "what it learns from": config["data_licence"]})
    with sole_writer(output):
        runs.begin(output, config)
        finished = runs.read_result(output)
        if finished is not None:
            say(f"{output}: already trained")
            return finished
        _check_before(arch, output, tables, export_check)
        annotator = _annotator(tables, open_teacher) if online else None
        say(f"the student will be under {config['licence']}, from data under {config['data_licence']}")
        torch.manual_seed(seed)
        network, where, workers = catalogue.build(arch), choose_device(device), loaders(workers)
        number = choose_precision(precision, where, reduced_on_cpu=network.reduced_on_cpu)
        computed = {"device": where.type, "precision": str(number).removeprefix("torch.")}
        around = _around(noise, rir, seed)
        clips, kept, held = _data(tables, weights, embeddings, audio, speaker_from, output, seed)
        say(f"{arch} on {where.type} in {computed['precision']}: {len(clips)} clips, {held.sum()} held out")
        train = np.flatnonzero(~held)
        passes = None
        if annotated_passes:
            passes = keep_passes(output, annotated_passes, config, clips, kept, train, how.speed_range[0])
        batches = TrainingBatches(
            clips, train, around, augmentation=how, batch_size=batch_size, longest=longest, seed=seed, workers=workers,
            annotator=annotator, embeddings=any(wanted.values()), kept=passes,
        )  # fmt: skip
        objective = objective_of(LOSSES[loss], network, clips, train, annotator, seed=seed, **wanted)
        network.start_near(_mean_target(clips.targets[~held]))
        model = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        keep_freed_memory()
        share_cores(workers)
        trained = fit(
            model, batches, lambda: clean_batches(clips, np.flatnonzero(held), batch_size), objective=objective,
            schedule=Schedule(config["epochs"], max_minutes, config["learning_rate"]), folder=output, device=where,
            precision=number, log=_tensorboard(output) if tensorboard else lambda _: None,
        )  # fmt: skip
        return _finish(output, arch, trained, clips, kept, held, config, computed)


def _check_before(
    arch: str, output: Path, tables: Sequence[table.LabelTable], export_check: ExportCheck | None
) -> None:
    """Fail before spending: does the student export, is there disk, do the labels say anything?"""
    check_disk(output, bytes_needed=200_000_000)
    for label in tables:
        columns = [axis for axis in enumerate(AXES) if axis[1] in label.info["axes"]]
        constant = [axis for column, axis in columns if np.std(label.adv[:, column]) < 1e-6]
        if constant:
            raise DistillError(f"{label.folder}: {constant[0]} is the same in all {len(label)} rows; nothing to learn")
    if export_check is not None:
        say(f"checking that an untrained {arch} can be exported")
        export_check(catalogue.build(arch).eval(), arch)


def _annotator(tables: Sequence[table.LabelTable], open_teacher: Callable[[str], Annotator] | None) -> Annotator:
    """The teacher that made the tables, the very same."""
    made_by = {(label.info["arguments"]["teacher"], label.info["teacher"]["revision"]) for label in tables}
    if open_teacher is None or len(made_by) > 1:
        raise DistillError("--online needs label tables of one teacher, and that teacher")
    ((name, revision),) = made_by
    annotator = open_teacher(name)
    if annotator.card.revision != revision:
        raise DistillError(
            f"{tables[0].folder}: was labelled by {name} {revision}, here it is {annotator.card.revision}; label again"
        )
    return annotator


def _data(
    tables: Sequence[table.LabelTable],
    weights: Sequence[np.ndarray] | None,
    embeddings: Sequence[np.ndarray] | None,
    audio: Path | None,
    speaker_from: str | None,
    output: Path,
    seed: int,
) -> tuple[Clips, list[Example], np.ndarray]:
    chosen: list[Example] = []
    for number, label in enumerate(tables):
        groups = groups_of(label.column("file"), label.column("speaker"), speaker_from)
        beside = (None if rows is None else rows[number] for rows in (weights, embeddings))
        chosen += examples(label, audio, groups, *beside)
    held = held_out([example.group for example in chosen], seed=seed)
    out = {example.group for example, is_out in zip(chosen, held, strict=True) if is_out}
    clips, kept = cache(chosen, output / "cache")
    held = np.array([example.group in out for example in kept])
    if held.all() or not held.any():
        side = "training" if held.all() else "held-out"
        raise DistillError(f"no {side} clip can be read; {output / 'left_out.csv'} names what is missing")
    return clips, kept, held


def _around(noise: Path | None, rir: Path | None, seed: int) -> Any:
    made = [name for name, folder in (("noise", noise), ("rooms", rir)) if folder is None]
    if made:
        say(f"{' and '.join(made)} for training are synthesised (--noise DIR and --rir DIR take recordings)")
    return surroundings(noise, rir, seed=seed)


def _finish(
    output: Path, arch: str, weights: dict[str, Tensor], clips: Clips, kept: list[Example], held: np.ndarray,
    config: Mapping[str, Any], computed: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Score the best weights on the held-out clips, write them with the clips that export needs, then the result."""
    from safetensors.torch import save_file

    model = catalogue.build(arch)
    model.load_state_dict(weights)
    lines = _calibrated(model, clips, np.flatnonzero(~held)) if config.get("calibrate") else {}
    predicted, target = answers(model, clean_batches(clips, np.flatnonzero(held), 32), torch.device("cpu"))
    runs.write_clips(output, _travelling(clips, kept, held))
    with whole(output / runs.WEIGHTS) as beside:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, beside)
    scores, last = agreement(predicted, target), _last_line(output)
    result = {
        "ccc": {axis: scores["ccc"].get(axis) for axis in AXES}, "axes": config["axes"], "derived": config["derived"],
        "split": write_split(output, kept, held), "n": scores["n"], "teacher": config["teacher"],
        "licence": config["licence"], "data_licence": config["data_licence"],
        "seconds": last["seconds"], "epochs": last["epoch"],
        "figures": asdict(catalogue.figures(arch)), **computed, **lines,
    }  # fmt: skip
    write_json(output / runs.RESULT, result)
    for made_for_training in ("cache", FOLDER):
        if (output / made_for_training).exists():
            shutil.rmtree(output / made_for_training)
    return result


def _calibrated(model: StudentNetwork, clips: Clips, train: np.ndarray) -> dict[str, Any]:
    lines = calibrate_network(model, clean_batches(clips, train, 32))
    told = ", ".join(f"{axis} {line['slope']:.2f} x {line['offset']:+.2f}" for axis, line in lines.items())
    say(f"calibrated on {len(train)} training clips: {told}")
    return {"calibration": lines}


def _mean_target(targets: np.ndarray) -> Tensor:
    """Mean of the known targets of each axis: [n, 3] -> [3]; 0 where an axis is lacking."""
    known = np.isfinite(targets)
    return torch.from_numpy((np.nan_to_num(targets).sum(0) / known.sum(0).clip(min=1)).astype(np.float32))


def _travelling(clips: Clips, kept: list[Example], held: np.ndarray) -> list[runs.Clip]:
    """Clips for the exporter: training clips to calibrate with and held-out ones to check with, in turn."""
    rng = np.random.default_rng(0)
    first = np.unique([example.sha256 for example in kept], return_index=True)[1]  # a table may be named twice
    once = np.isin(np.arange(len(kept)), first)
    calibrate, check = (rng.permutation(np.flatnonzero(side & once)) for side in (~held, held))
    turns = list(zip_longest(check, calibrate))
    drawn = [(index, use) for pair in turns for index, use in zip(pair, ("check", "calibrate"), strict=True)]
    return [
        runs.Clip(kept[index].file, use, clips.signal(index)) for index, use in drawn[:TRAVELLING] if index is not None
    ]


def _last_line(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]))


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
